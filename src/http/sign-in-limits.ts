// How often may an address try to sign in? Tokens must not be guessed or tried out here, and each start of a sign-in
// with GitHub leaves a row in the database.
import type {} from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { LRUCache } from 'lru-cache';
import { GatewayError } from '../errors.ts';
import { addressGroup } from '../policy/client-address.ts';
import { refuseExceeded, type Verdict } from './rate-limits.ts';

const WINDOW_MS = 60_000;
const MOST_TOKENS = 5;
const MOST_STARTS = 300;
const MOST_ADDRESSES = 50_000;

/**
 * Counts in Redis where there is one, for all gateways together; in this process otherwise.
 *
 * The returned function throws a {@link GatewayError}: rate-limited, or session-store-unavailable when it cannot count.
 */
export function patSignInLimit(app: FastifyInstance): (request: FastifyRequest) => Promise<void> {
  const check = app.createRateLimit({
    max: MOST_TOKENS,
    timeWindow: WINDOW_MS,
    keyGenerator: (request) => `pat-signin:${addressGroup(request.record.clientAddress)}`,
  });
  return async (request) => {
    const verdict = await check(request).catch((cause: unknown) => {
      throw new GatewayError('session-store-unavailable', {
        detail: 'Sign-in tries cannot be counted at the moment.',
        cause,
      });
    });
    refuseExceeded(verdict);
  };
}

/**
 * The same for starts, which guess nothing: while Redis is away they are counted in this process, so that people can
 * still sign in.
 *
 * The returned function throws a {@link GatewayError}: rate-limited.
 */
export function signInStartLimit(app: FastifyInstance): (request: FastifyRequest) => Promise<void> {
  const keyGenerator = ({ record }: FastifyRequest) => `sign-in:${addressGroup(record.clientAddress)}`;
  const check = app.createRateLimit({ max: MOST_STARTS, timeWindow: WINDOW_MS, keyGenerator });
  const here = new LRUCache<string, { count: number }>({ max: MOST_ADDRESSES, ttl: WINDOW_MS });
  const countHere = (key: string): Verdict => {
    const counted = here.get(key) ?? { count: 0 };
    if (counted.count++ === 0) here.set(key, counted);
    const ttlInSeconds = Math.ceil(here.getRemainingTTL(key) / 1000);
    return { max: MOST_STARTS, isExceeded: counted.count > MOST_STARTS, ttlInSeconds };
  };
  return async (request) => {
    refuseExceeded(await check(request).catch(() => countHere(keyGenerator(request))));
  };
}
