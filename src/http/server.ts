// The main port's server: limits, request ids, one canonical target for every request, one answer for every error.
import { randomUUID } from 'node:crypto';
import { type IncomingMessage, METHODS } from 'node:http';
import Fastify, { type FastifyInstance, LogController } from 'fastify';
import type { Logger } from 'pino';
import { GatewayError } from '../errors.ts';
import { type IsTrusted, plainAddress } from '../policy/client-address.ts';
import { type AmbiguousReason, parseTarget } from '../policy/target.ts';
import { handleErrors, sendProblem } from './errors.ts';
import { logWhenClosed } from './logging.ts';
import { answerConnect, answerMalformed } from './malformed.ts';
import type { ReadOrigin } from './origin.ts';
import { newRecord } from './request-record.ts';
import { watchSilentConnections } from './silent-connections.ts';

export interface ServerOptions {
  readonly publicUrl: string;
  readonly logger: Logger;
  readonly isTrusted: IsTrusted;
  readonly readOrigin: ReadOrigin;
}

const MAX_HEADER_BYTES = 32 * 1024;
const HEADERS_TIMEOUT_MS = 30_000;

export function createServer({ publicUrl, logger, isTrusted, readOrigin }: ServerOptions): FastifyInstance {
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    requestIdHeader: false,
    genReqId: (request) => requestId(request, isTrusted),
    exposeHeadRoutes: false,
    routerOptions: { caseSensitive: false, maxParamLength: MAX_HEADER_BYTES },
    http: { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: HEADERS_TIMEOUT_MS },
    clientErrorHandler: answerMalformed,
    frameworkErrors: (cause, request, reply) => {
      request.record = newRecord();
      sendProblem(request, reply, routingFault(request.raw.url ?? '', cause), publicUrl);
    },
  }) as unknown as FastifyInstance;
  // Whatever method Node reads may be an upstream's; what is not served is refused by us, not unknown to Fastify.
  for (const method of METHODS)
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true });
  app.server.on('connect', (_request, socket) => answerConnect(socket));
  const endSilentConnections = watchSilentConnections(app.server);
  app.addHook('preClose', async () => endSilentConnections());
  app.decorateRequest('record');
  app.addHook('onRequest', async (request, reply) => {
    request.record = newRecord();
    request.record.clientAddress = readOrigin.clientAddress(request);
    logWhenClosed(app.log, request, reply);
    reply.header('x-request-id', request.id);
    const parsed = parseTarget(request.raw.url ?? '');
    if (!parsed.ok) throw ambiguous(parsed.reason);
    request.record.target = parsed.target;
  });
  handleErrors(app, publicUrl);
  return app;
}

/** What Fastify's router cannot read, it refuses before any hook runs. */
function routingFault(url: string, cause: unknown): GatewayError {
  const parsed = parseTarget(url);
  return parsed.ok ? new GatewayError('bad-request', { cause }) : ambiguous(parsed.reason);
}

function ambiguous(reason: AmbiguousReason): GatewayError {
  const detail = `The path is refused because it can be read in more than one way: ${reason}.`;
  return new GatewayError('ambiguous-path', { detail, fields: { reason } });
}

/** Our own, so that nobody can write another's id into the log; a trusted proxy's where it gives one. */
function requestId({ headers, socket }: IncomingMessage, isTrusted: IsTrusted): string {
  const given = headers['x-request-id'];
  const usable = typeof given === 'string' && /^[\w.:-]{1,128}$/.test(given);
  return usable && isTrusted(plainAddress(socket.remoteAddress ?? '')) ? given : randomUUID();
}
