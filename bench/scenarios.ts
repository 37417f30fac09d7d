// Every scenario of the bench, in the order of the report.
import { apacheRedis, apacheSharedMemory } from './contenders/apache.ts';
import { direct, floor, floorAgain, httpProxy } from './contenders/bare.ts';
import {
  FEW_SESSIONS,
  gateway,
  gatewayLargeStore,
  gatewayLogging,
  gatewayTwoWorkers,
  gatewayWithNeighbour,
  timeStart,
} from './contenders/gateway.ts';
import { httpProxyBetterAuth } from './contenders/http-proxy-better-auth.ts';
import { nginx, nginxAuthRequest, nginxLua } from './contenders/nginx.ts';
import { oauth2Proxy } from './contenders/oauth2-proxy.ts';
import { halfLoad } from './probes/half-load.ts';
import { besideStreams, idleConnections } from './probes/held-connections.ts';
import {
  FORGED,
  NO_SESSION,
  newSessions,
  type RequestOptions,
  requests,
  sessionsInTurn,
} from './probes/requests.ts';
import { echo } from './probes/sockets.ts';
import type { Scenario, Sizes } from './scenario.ts';

const few = (sizes: Sizes) => sizes.fewRounds;
/** Those that forward anything. */
const FORWARDING = [nginx, httpProxy, floor, gateway];

export const warm: Scenario = {
  name: 'GET 1 KB, signed in',
  // Beside the gateway stands what it is compared with most closely; its own other scenarios follow.
  contenders: [
    direct,
    nginx,
    nginxLua,
    nginxAuthRequest,
    apacheSharedMemory,
    apacheRedis,
    oauth2Proxy,
    httpProxyBetterAuth,
    httpProxy,
    gatewayTwoWorkers,
    gatewayLogging,
    floor,
    gateway,
    floorAgain,
  ],
  begin: requests({ path: '/api/x' }),
};

export const publicRoute = ofGateway('GET 1 KB, public route', { path: '/public/x' });
export const noCookie = ofGateway('401, no cookie', {
  path: '/api/x',
  cookie: NO_SESSION,
  expected: 401,
});
export const forgedCookie = ofGateway('401, forged cookie', {
  path: '/api/x',
  cookie: FORGED,
  expected: 401,
});
export const scopeMissing = ofGateway('403, scope missing', { path: '/scoped/x', expected: 403 });

/** Redis is asked and does not know them, Postgres does. */
export const storeHit: Scenario = {
  name: 'first request of a session, Postgres has it',
  contenders: [gatewayLargeStore],
  begin: newSessions((sizes) => sizes.sessionsInTurn),
};

export const redisHit: Scenario = {
  name: 'first request of a session, Redis has it',
  contenders: [gatewayWithNeighbour],
  begin: newSessions((sizes) => sizes.manySessions / 2),
};

/** The same sessions in both, which are all there are in the one. */
export const inTurn: Scenario = {
  name: `${FEW_SESSIONS} sessions in turn`,
  contenders: [gateway, gatewayLargeStore],
  begin: sessionsInTurn(() => FEW_SESSIONS),
};

const manyInTurn: Scenario = {
  name: '10,000 sessions in turn',
  contenders: [gatewayLargeStore],
  rounds: few,
  begin: sessionsInTurn((sizes) => sizes.sessionsInTurn),
};

const post: Scenario = {
  name: 'POST 10 KB',
  contenders: FORWARDING,
  rounds: few,
  begin: requests({ path: '/api/x', method: 'POST', bodyBytes: 10_240 }),
};

const download: Scenario = {
  name: 'download 10 MB',
  contenders: FORWARDING,
  rounds: few,
  begin: requests({ path: '/download', connections: 8, amount: (sizes) => sizes.downloads }),
};

const eventStreams: Scenario = {
  name: 'GET 1 KB beside 1,000 idle event streams',
  contenders: FORWARDING,
  rounds: few,
  begin: besideStreams({ path: '/api/x' }),
};

const webSockets: Scenario = {
  name: 'WebSocket echo, 64 bytes',
  contenders: [nginx, httpProxy, gateway],
  rounds: few,
  begin: echo(),
};

export const latency: Scenario = {
  name: 'GET 1 KB at half load',
  contenders: [httpProxy, floor, gateway, floorAgain],
  begin: halfLoad(gateway),
};

export const start: Scenario = {
  name: 'start to ready',
  contenders: [gateway],
  begin:
    async ({ surroundings }) =>
    async () => ({ readyMs: await timeStart(surroundings) }),
};

export const idle: Scenario = {
  name: '10,000 idle keep-alive connections',
  contenders: [floor, gateway],
  rounds: () => 1,
  begin: idleConnections([floor, gateway]),
};

export const SCENARIOS: readonly Scenario[] = [
  warm,
  publicRoute,
  noCookie,
  forgedCookie,
  scopeMissing,
  storeHit,
  redisHit,
  inTurn,
  latency,
  start,
  manyInTurn,
  post,
  download,
  eventStreams,
  webSockets,
  idle,
];

function ofGateway(name: string, options: RequestOptions): Scenario {
  return { name, contenders: [gateway], begin: requests(options) };
}
