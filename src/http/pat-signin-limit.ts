// Five tries a minute for an address: tokens must not be guessed or tried out here.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { GatewayError } from '../errors.ts';
import { addressGroup } from '../policy/client-address.ts';

/**
 * Counts in Redis where there is one, for all gateways together; in this process otherwise.
 *
 * The returned function throws a {@link GatewayError}: rate-limited, or session-store-unavailable when it cannot count.
 */
export function patSignInLimit(app: FastifyInstance): (request: FastifyRequest) => Promise<void> {
  const check = app.createRateLimit({
    max: 5,
    timeWindow: 60_000,
    keyGenerator: (request) => `pat-signin:${addressGroup(request.record.clientAddress)}`,
  });
  return async (request) => {
    const verdict = await check(request).catch((cause: unknown) => {
      throw new GatewayError('session-store-unavailable', {
        detail: 'Sign-in tries cannot be counted at the moment.',
        cause,
      });
    });
    if (!verdict.isAllowed && verdict.isExceeded)
      throw new GatewayError('rate-limited', { retryAfterSeconds: verdict.ttlInSeconds });
  };
}
