// What failed, when an exchange with a target did: whose fault it was, and what the client is told. Pure.
import { GatewayError } from '../errors.ts';
import type { Connection } from './target-connections.ts';

/** `closed`: a connection that was open is no longer. */
export type Fault = 'connect' | 'silence' | 'closed';

const TIMED_OUT = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT',
]);

const NOT_OF_THE_TARGET = new Set(['UND_ERR_ABORTED', 'UND_ERR_INVALID_ARG', 'UND_ERR_DESTROYED']);
const CLOSED = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/**
 * @param isUnderWay bytes of the request may be with the target
 * @returns null when it is not the target's, or it had begun to answer
 */
export function faultOf(error: Error, isUnderWay: boolean, { address }: Connection): Fault | null {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (error instanceof GatewayError || NOT_OF_THE_TARGET.has(code)) return null;
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return 'silence';
  if (!isUnderWay && address === null) return 'connect';
  return CLOSED.has(code) ? 'closed' : null;
}

/** What the client is told of an error of the client for upstreams. */
export function upstreamFault(cause: Error, isUnderWay: boolean): GatewayError {
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  if (code === 'UND_ERR_INVALID_ARG') return new GatewayError('bad-request', { cause });
  if (TIMED_OUT.has(code)) return new GatewayError('upstream-timeout', { cause });
  // A server that wants a certificate of ours may say so only once it has the request.
  if (!isUnderWay || code.startsWith('ERR_SSL')) return new GatewayError('upstream-unreachable', { cause });
  return new GatewayError('upstream-broken', { cause });
}
