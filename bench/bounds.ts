// What the gateway has to cost at most, against others in the same run. The only place where these numbers stand.

import type { Contender } from './contender.ts';
import { apacheRedis, apacheSharedMemory } from './contenders/apache.ts';
import { floor, floorAgain, httpProxy } from './contenders/bare.ts';
import {
  gateway,
  gatewayLargeStore,
  gatewayLogging,
  gatewayTwoWorkers,
  gatewayWithNeighbour,
} from './contenders/gateway.ts';
import { httpProxyBetterAuth } from './contenders/http-proxy-better-auth.ts';
import { nginxAuthRequest, nginxLua } from './contenders/nginx.ts';
import type { Metric } from './measure.ts';
import type { Scenario } from './scenario.ts';
import {
  forgedCookie,
  idle,
  inTurn,
  latency,
  noCookie,
  publicRoute,
  redisHit,
  start,
  storeHit,
  warm,
} from './scenarios.ts';

/** A contender in a scenario. */
export interface Place {
  readonly scenario: string;
  readonly contender: string;
}

export interface Bound {
  readonly name: string;
  readonly of: Place;
  readonly metric: Metric;
  /** What it is compared with; the value itself counts without. */
  readonly to?: Place;
  readonly comparison: 'ratio' | 'difference' | 'value';
  readonly atMost: number;
}

/** The same server twice: what they differ by is the noise of the machine. */
export const EQUALS = {
  cpuMicros: [place(warm, floorAgain), place(warm, floor)],
  latency: [place(latency, floorAgain), place(latency, floor)],
} as const;

const WARM = place(warm, gateway);

export const BOUNDS: readonly Bound[] = [
  cpu('warm, against the floor', WARM, place(warm, floor), 1.15),
  cpu('warm with the request log, against the floor', place(warm, gatewayLogging), place(warm, floor), 1.35),
  cpu('warm, against @fastify/http-proxy without authentication', WARM, place(warm, httpProxy), 0.65),
  cpu('authentication on, against off', WARM, place(publicRoute, gateway), 1.05),
  cpu('warm, against @fastify/http-proxy + Better Auth', WARM, place(warm, httpProxyBetterAuth), 1 / 6),
  cpu('warm, against nginx auth_request + Better Auth', WARM, place(warm, nginxAuthRequest), 1 / 5),
  cpu('warm, against Apache + mod_auth_openidc, Redis', WARM, place(warm, apacheRedis), 1 / 3),
  cpu('warm, against Apache + mod_auth_openidc, shared memory', WARM, place(warm, apacheSharedMemory), 0.55),
  cpu('warm, against nginx + Lua + Redis', WARM, place(warm, nginxLua), 1.8),
  cpu('Redis hit, against warm', place(redisHit, gatewayWithNeighbour), WARM, 1.6),
  cpu('store hit, against warm', place(storeHit, gatewayLargeStore), WARM, 4),
  cpu('401 without a cookie, against warm', place(noCookie, gateway), WARM, 0.6),
  cpu('401 for a forged cookie, against warm', place(forgedCookie, gateway), WARM, 0.6),
  cpu('2 workers, against 1', place(warm, gatewayTwoWorkers), WARM, 1.1),
  cpu(
    '1 million sessions stored, against 1,000',
    place(inTurn, gatewayLargeStore),
    place(inTurn, gateway),
    1.1,
  ),
  added('latency added to the floor at half load, p50, ms', 'p50', 0.1),
  added('latency added to the floor at half load, p99, ms', 'p99', 1),
  {
    name: 'start to ready, ms',
    of: place(start, gateway),
    metric: 'readyMs',
    comparison: 'value',
    atMost: 1000,
  },
];

/** Stated without a bound; that every connection stays open is insisted on while it is measured. */
export const STATED = [place(idle, gateway)];

function cpu(name: string, of: Place, to: Place, atMost: number): Bound {
  return { name, of, to, metric: 'cpuMicros', comparison: 'ratio', atMost };
}

function added(name: string, metric: 'p50' | 'p99', atMost: number): Bound {
  return {
    name,
    of: place(latency, gateway),
    to: place(latency, floor),
    metric,
    comparison: 'difference',
    atMost,
  };
}

function place(scenario: Scenario, contender: Contender): Place {
  return { scenario: scenario.name, contender: contender.name };
}
