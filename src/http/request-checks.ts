// What every request must be, whoever answers it: nothing in it has two meanings, unless a route opts in.
import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../errors.ts';
import type { AmbiguousReason } from '../policy/target.ts';

/** Where routes may opt in to targets of several readings: the guard's one URL. */
export const ROUTED = '/*';

/** Registers the checks; to be called before anything that answers is registered. */
export function registerRequestChecks(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const fault = headerFault(request.raw.rawHeaders);
    if (fault !== null) return done(new GatewayError('bad-request', { detail: fault }));
    const { ambiguity } = request.record.target;
    if (ambiguity && request.routeOptions.url !== ROUTED) return done(ambiguousPath(ambiguity.reason));
    done();
  });
}

export function ambiguousPath(reason: AmbiguousReason): GatewayError {
  const detail = `The path is refused because it can be read in more than one way: ${reason}.`;
  return new GatewayError('ambiguous-path', { detail, fields: { reason } });
}

/** Fields of which node:http takes the first, and an upstream perhaps the last. */
const SINGLE = ['content-type', 'authorization'];

/**
 * What is wrong with these fields, in words for the client; null when nothing is.
 *
 * @param rawHeaders names and values in turn
 */
function headerFault(rawHeaders: readonly string[]): string | null {
  let seen = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    // Cheaper than folding every name of every request.
    if (name.length !== 12 && name.length !== 13) continue;
    const single = SINGLE.indexOf(name.toLowerCase());
    if (single === -1) continue;
    if (seen & (1 << single)) return `Send one ${SINGLE[single]} header.`;
    seen |= 1 << single;
  }
  return null;
}
