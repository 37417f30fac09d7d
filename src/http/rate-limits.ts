// Limits of routes. Counted in Redis where there is one, for all gateways together; in this process otherwise.
import type {} from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { LRUCache } from 'lru-cache';
import { GatewayError } from '../errors.ts';
import { addressGroup } from '../policy/client-address.ts';
import { type CountedBy, countedBy, type RateLimit } from '../policy/rate-limit.ts';
import type { Route } from '../policy/route.ts';
import { denial } from './judge.ts';
import type { RequestRecord } from './request-record.ts';
import type { Traffic } from './traffic.ts';

/** @throws {GatewayError} rate-limited */
export type LimitRequest = (request: FastifyRequest, route: Route) => Promise<void>;

/** What was counted in a window that is not over. */
export interface Verdict {
  readonly max: number;
  readonly isExceeded: boolean;
  readonly ttlInSeconds: number;
}

interface Counted extends Verdict {
  /** In milliseconds. */
  readonly ttl: number;
}

interface Counter {
  readonly keyOf: (record: RequestRecord) => string;
  readonly count: (request: FastifyRequest) => Promise<Counted | { isAllowed: true }>;
}

const MOST_EXCEEDED = 50_000;

/** Requests pass while they cannot be counted: a limit must not become an outage. */
export function limitRoutes(app: FastifyInstance, traffic: Traffic): LimitRequest {
  const counters = new Map<Route, Record<CountedBy, Counter>>();
  const rest = restAfterFailures();
  /** Whoever has exceeded a limit is refused without a question, until its time is over. */
  const exceeded = new LRUCache<string, Verdict>({ max: MOST_EXCEEDED });

  const check = async ({ keyOf, count }: Counter, request: FastifyRequest) => {
    const key = keyOf(request.record);
    const known = exceeded.get(key);
    if (known) refuseExceeded({ ...known, ttlInSeconds: Math.ceil(exceeded.getRemainingTTL(key) / 1000) });
    if (rest.isResting()) return;
    const verdict = await rest.watch(() => count(request));
    if (verdict === null || !('isExceeded' in verdict) || !verdict.isExceeded) return;
    // In the last millisecond of a window nothing is left of it, and 0 would mean for ever.
    exceeded.set(key, verdict, { ttl: Math.max(1, verdict.ttl) });
    refuseExceeded(verdict);
  };

  return async (request, route) => {
    if (route.rateLimit === null) return;
    const ofRoute = counters.get(route) ?? countersOf(app, route, route.rateLimit);
    counters.set(route, ofRoute);
    try {
      // One after the other: who is refused as a person does not use up what the address has.
      for (const by of countedBy(route.rateLimit.by, request.record.userId !== null))
        await check(ofRoute[by], request);
    } catch (error) {
      throw error instanceof GatewayError ? denial(request, route, error, traffic) : error;
    }
  };
}

/** @throws {GatewayError} rate-limited */
export function refuseExceeded(verdict: Verdict | { isAllowed: true }): void {
  if (!('isExceeded' in verdict) || !verdict.isExceeded) return;
  const { max, ttlInSeconds } = verdict;
  throw new GatewayError('rate-limited', {
    retryAfterSeconds: ttlInSeconds,
    headers: {
      'ratelimit-limit': String(max),
      'ratelimit-remaining': '0',
      'ratelimit-reset': String(ttlInSeconds),
    },
  });
}

function countersOf(
  app: FastifyInstance,
  { name, methods }: Route,
  { requests, per }: RateLimit,
): Record<CountedBy, Counter> {
  const limited = `${[...(methods ?? [])].join(',')} ${name}`;
  const counter = (whose: (record: RequestRecord) => string): Counter => {
    const keyOf = (record: RequestRecord) => `${limited} ${whose(record)}`;
    const keyGenerator = ({ record }: FastifyRequest) => keyOf(record);
    return { keyOf, count: app.createRateLimit({ max: requests, timeWindow: per, keyGenerator }) };
  };
  return {
    person: counter(({ userId }) => `person:${userId}`),
    address: counter(({ clientAddress }) => `address:${addressGroup(clientAddress)}`),
  };
}

const MOST_FAILURES = 3;
const REST_MS = 1000;

/** After some failures, one after the other, nothing is asked for a moment, so that nobody waits in vain. */
function restAfterFailures() {
  let failures = 0;
  let failedAt = Number.NEGATIVE_INFINITY;
  return {
    isResting: () => failures >= MOST_FAILURES && performance.now() - failedAt < REST_MS,
    /** Null when it failed. */
    async watch<T>(ask: () => Promise<T>): Promise<T | null> {
      const askedAt = performance.now();
      try {
        const answer = await ask();
        failures = 0;
        return answer;
      } catch {
        // Those asked before the last failure have failed together with it.
        if (askedAt >= failedAt) failures++;
        failedAt = performance.now();
        return null;
      }
    },
  };
}
