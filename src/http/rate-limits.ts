// Limits of routes. Counted in Redis where there is one, for all gateways together; in this process otherwise.
import type {} from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { GatewayError } from '../errors.ts';
import { countedAs } from '../policy/rate-limit.ts';
import type { Route } from '../policy/route.ts';
import { denial } from './judge.ts';
import type { Traffic } from './traffic.ts';

/** @throws {GatewayError} rate-limited */
export type LimitRequest = (request: FastifyRequest, route: Route) => Promise<void>;

/** What was counted in a window that is not over. */
export interface Verdict {
  readonly max: number;
  readonly isExceeded: boolean;
  readonly ttlInSeconds: number;
}

type Check = (request: FastifyRequest) => Promise<Verdict | { isAllowed: true }>;

/** How long nothing is counted after Redis has failed, so that nobody waits for it in vain. */
const REST_MS = 1000;

/** Requests pass uncounted while Redis is away: a limit must not become an outage. */
export function limitRoutes(app: FastifyInstance, traffic: Traffic): LimitRequest {
  const checks = new Map<Route, Check[]>();
  let restUntil = 0;
  return async (request, route) => {
    if (performance.now() < restUntil) return;
    const ofRoute = checks.get(route) ?? checksOf(app, route);
    checks.set(route, ofRoute);
    try {
      // One after the other: who is refused as a person does not use up what the address has.
      for (const check of ofRoute) refuseExceeded(await check(request));
    } catch (error) {
      if (error instanceof GatewayError) throw denial(request, route, error, traffic);
      restUntil = performance.now() + REST_MS;
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

/** One for each name a request is counted under. */
function checksOf(app: FastifyInstance, { rateLimit, name, methods }: Route): Check[] {
  if (rateLimit === null) return [];
  const { requests, per, by } = rateLimit;
  const limited = `${[...(methods ?? [])].join(',')} ${name}`;
  return (by === 'both' ? [0, 1] : [0]).map((at) => {
    const check = app.createRateLimit({
      max: requests,
      timeWindow: per,
      keyGenerator: ({ record }) =>
        `${limited} ${countedAs(by, record.userId, record.clientAddress)[at] ?? ''}`,
    });
    return (request) => {
      const { userId, clientAddress } = request.record;
      const isCounted = countedAs(by, userId, clientAddress)[at] !== undefined;
      return isCounted ? check(request) : Promise.resolve({ isAllowed: true });
    };
  });
}
