// The main port's server: limits, request ids, one canonical target for every request, one answer for every error.
import { randomUUID } from 'node:crypto';
import { type IncomingMessage, METHODS, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { GatewayError } from '../errors.ts';
import { hasBody } from '../forwarding/request-body.ts';
import { leaveUnread } from '../forwarding/unread-body.ts';
import { type IsTrusted, plainAddress } from '../policy/client-address.ts';
import { framingFault } from '../policy/framing.ts';
import { parseTarget, type Target } from '../policy/target.ts';
import { handleErrors, sendProblem } from './errors.ts';
import { requestLog } from './logging.ts';
import { answerConnect, answerMalformed } from './malformed.ts';
import type { ReadOrigin } from './origin.ts';
import type { Overload } from './overload.ts';
import { ambiguousPath } from './request-checks.ts';
import { newRecord, statusOf } from './request-record.ts';
import { watchSilentConnections } from './silent-connections.ts';
import { NO_ROUTE, type Traffic } from './traffic.ts';
import { mayUpgrade, takeUpgrades } from './upgrades.ts';

export interface ServerOptions {
  readonly publicUrl: string;
  readonly logger: Logger;
  readonly isTrusted: IsTrusted;
  readonly readOrigin: ReadOrigin;
  readonly traffic: Traffic;
  readonly overload: Overload;
}

const MAX_HEADER_BYTES = 32 * 1024;
const HEADERS_TIMEOUT_MS = 30_000;

export function createServer(options: ServerOptions): FastifyInstance {
  const { logger, isTrusted, readOrigin, traffic, overload } = options;
  const logRequest = requestLog(logger);
  const app = Fastify({
    // Fastify would make a logger for every request; what is to be said is said by us.
    logger: false,
    requestIdHeader: false,
    genReqId: (request) => requestId(request, isTrusted),
    exposeHeadRoutes: false,
    // What still comes while it ends is served: see silent-connections.ts.
    return503OnClosing: false,
    routerOptions: { caseSensitive: false, maxParamLength: MAX_HEADER_BYTES },
    http: {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: 5000,
      // A missing Host is refused with the rest that is wrong with a head, in the same words.
      requireHostHeader: false,
      shouldUpgradeCallback: mayUpgrade,
    },
    clientErrorHandler: answerMalformed,
    frameworkErrors: (cause, request, reply) => {
      request.record = newRecord();
      request.record.clientAddress = readOrigin.clientAddress(request);
      noteWhenClosed(request, reply);
      leaveUnread(request.raw, reply.raw);
      sendProblem(request, reply, routingFault(request.raw.url ?? '', cause), options);
    },
  }) as unknown as FastifyInstance;
  // Whatever method Node reads may be an upstream's; what is not served is refused by us, not unknown to Fastify.
  for (const method of METHODS)
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true });
  // Beyond 2,000 headers Node leaves out the rest without a word; their bytes are limited anyway.
  app.server.maxHeadersCount = 0;
  app.server.on('connect', (_request, socket) => answerConnect(socket));
  const admit = overload.guard(app.routing);
  app.server.removeAllListeners('request').on('request', admit);
  app.addHook('onClose', async () => overload.close());
  // 100 is sent once it is decided that the body is wanted: by forward(), or before a body of ours is read.
  const handle = (request: IncomingMessage, response: ServerResponse) =>
    app.server.emit('request', request, response);
  app.server.on('checkContinue', handle).on('checkExpectation', handle);
  takeUpgrades(app.server, admit);
  readNoBodies(app);
  const endSilentConnections = watchSilentConnections(app.server);
  app.addHook('preClose', async () => endSilentConnections());
  app.decorateRequest('record');
  const noteWhenClosed = (request: FastifyRequest, reply: FastifyReply) => {
    traffic.inFlight++;
    reply.raw.on('close', () => {
      traffic.inFlight--;
      count(traffic, request, reply);
      logRequest(request, reply);
    });
  };
  const condemned = new WeakSet<Socket>();
  app.addHook('onRequest', (request, reply, done) => {
    const { raw } = request;
    request.record = newRecord();
    // What stands behind a head that cannot be trusted may be part of it.
    if (condemned.has(raw.socket)) return void reply.hijack();
    // No byte more than came with the head is read until somebody wants the body.
    if (hasBody(raw)) raw.socket.pause();
    request.record.clientAddress = readOrigin.clientAddress(request);
    noteWhenClosed(request, reply);
    const detail = framingFault(raw);
    if (detail !== null) {
      condemned.add(raw.socket);
      return done(new GatewayError('bad-request', { detail, headers: { connection: 'close' } }));
    }
    request.record.target = targetOf(request);
    done();
  });
  app.addHook('onSend', (request, reply, _payload, done) => {
    reply.header('x-request-id', request.id);
    leaveUnread(request.raw, reply.raw);
    done();
  });
  handleErrors(app, options);
  return app;
}

function count(traffic: Traffic, { method, record }: FastifyRequest, { raw }: FastifyReply): void {
  const seconds = (performance.now() - record.startedAt) / 1000;
  traffic.on(record.route ?? NO_ROUTE).answered(method, statusOf(record, raw), seconds);
}

/** Whoever wants a body reads it; parts of the server that do say so with parsers of their own. */
function readNoBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null, undefined));
}

/** @throws {GatewayError} ambiguous-path */
function targetOf(request: FastifyRequest): Target {
  const parsed = parseTarget(request.raw.url ?? '');
  if (!parsed.ok) throw ambiguousPath(parsed.reason);
  return parsed.target;
}

/** What Fastify's router cannot read, it refuses before any hook runs. */
function routingFault(url: string, cause: unknown): GatewayError {
  const parsed = parseTarget(url);
  return parsed.ok ? new GatewayError('bad-request', { cause }) : ambiguousPath(parsed.reason);
}

/** Our own, so that nobody can write another's id into the log; a trusted proxy's where it gives one. */
function requestId({ headers, socket }: IncomingMessage, isTrusted: IsTrusted): string {
  const given = headers['x-request-id'];
  const usable = typeof given === 'string' && /^[\w.:-]{1,128}$/.test(given);
  return usable && isTrusted(plainAddress(socket.remoteAddress ?? '')) ? given : randomUUID();
}
