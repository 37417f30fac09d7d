// Turns refusals and failures into answers: problem+json, or, for people in a browser, the way to the sign-in page.
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { type ErrorCode, GatewayError, problemOf } from '../errors.ts';
import { AUTH_PATH } from '../policy/own-paths.ts';
import { innermost } from './logging.ts';
import { refusalPage, signInLocation } from './sign-in-page.ts';
import { wantsPage } from './wants-page.ts';

type ErrorLogger = Pick<Logger, 'error'>;

export interface Answering {
  /** The realm that people sign in to. */
  readonly publicUrl: string;
  readonly logger: ErrorLogger;
}

/** Answers with a problem document and notes the reason for the log. */
export function sendProblem(
  request: FastifyRequest,
  reply: FastifyReply,
  error: GatewayError,
  answering: Answering,
): void {
  note(request, error, answering.logger);
  const problem = problemOf(error, request.id);
  // Better Auth's clients, and applications made for them, read the text from `message`.
  const isAuth = request.record.target.path.startsWith(`${AUTH_PATH}/`);
  const body = isAuth ? { ...problem, message: error.detail } : problem;
  reply
    .code(error.status)
    .headers({ 'cache-control': 'no-store', 'x-gateway-intercepted-response': 'true', ...error.headers })
    .type('application/problem+json');
  if (error.status === 401) reply.header('www-authenticate', `Cookie realm="${answering.publicUrl}"`);
  reply.send(JSON.stringify(body));
}

/**
 * For the request's own line in the log. Only what should never happen gets another one, with its stack: the rest may
 * come with every request for as long as something is away.
 */
function note(request: FastifyRequest, error: GatewayError, logger: ErrorLogger): void {
  request.record.reason = error.code;
  if (error.cause !== undefined) request.record.cause = innermost(error);
  if (error.code === 'internal-error') logger.error({ requestId: request.id, err: error }, error.code);
}

/** Registers the handlers by which every error of the Fastify instance is answered. */
export function handleErrors(app: FastifyInstance, answering: Answering): void {
  const { logger } = answering;
  app.setErrorHandler((error: FastifyError | GatewayError, request, reply) => {
    const known = error instanceof GatewayError ? error : translate(error);
    if (known.status === 401 && wantsPage(request)) {
      note(request, known, logger);
      return reply.header('cache-control', 'no-store').redirect(signInLocation(request.record.target), 302);
    }
    if (known.code === 'membership-missing' && wantsPage(request)) {
      note(request, known, logger);
      return refusalPage(reply, known);
    }
    if (isCallback(request) && wantsPage(request)) {
      note(request, known, logger);
      return reply.header('cache-control', 'no-store').redirect(`/_gateway/sign-in?error=${known.code}`, 302);
    }
    sendProblem(request, reply, known, answering);
  });
  app.setNotFoundHandler((request) => {
    // Every known method has a route for every path: what comes here has an unknown one.
    throw new GatewayError(request.method === 'TRACE' ? 'method-not-allowed' : 'route-not-found');
  });
}

function isCallback(request: FastifyRequest): boolean {
  return request.record.target.path.startsWith(`${AUTH_PATH}/callback/`);
}

const OF_FASTIFY: Record<string, ErrorCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'body-too-large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported-media-type',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'bad-request',
  FST_ERR_BAD_URL: 'ambiguous-path',
};

function translate(error: FastifyError): GatewayError {
  const code = OF_FASTIFY[error.code];
  if (code) return new GatewayError(code, { cause: error });
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500)
    return new GatewayError('bad-request', { cause: error });
  return new GatewayError('internal-error', { cause: error });
}
