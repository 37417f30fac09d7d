// Bodies the gateway reads itself: small, and here soon, whoever sends them.
import { PassThrough } from 'node:stream';
import type { FastifyReply, FastifyRequest, RequestPayload } from 'fastify';
import { GatewayError } from '../errors.ts';
import { awaitsContinue, hasBody } from '../forwarding/request-body.ts';

export const MAX_BODY_BYTES = 64 * 1024;
/** From the request to the end of its body. */
const MAX_BODY_MS = 10_000;

/**
 * For a preParsing hook.
 *
 * @throws {GatewayError} body-too-large for one that says so; the parsers count the others
 */
export async function smallBody(
  { raw }: FastifyRequest,
  reply: FastifyReply,
  payload: RequestPayload,
): Promise<RequestPayload> {
  if (!hasBody(raw)) return payload;
  if (Number(raw.headers['content-length']) > MAX_BODY_BYTES) throw new GatewayError('body-too-large');
  if (awaitsContinue(raw)) reply.raw.writeContinue();
  return withinTime(payload);
}

/** The same bytes; fails with bad-request when they take too long. */
function withinTime(payload: RequestPayload): RequestPayload {
  const fault = new GatewayError('bad-request', { detail: 'The body took too long to arrive.' });
  const body = new PassThrough().on('error', () => {});
  const timer = setTimeout(() => body.destroy(fault), MAX_BODY_MS);
  body.once('close', () => clearTimeout(timer));
  return payload.pipe(body);
}
