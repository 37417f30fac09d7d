// Sign-in and sessions under /api/auth: the listed endpoints of Better Auth, and nothing else of it.
import type {} from '@fastify/cookie';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { GatewayError } from '../errors.ts';
import { addressGroup } from '../policy/client-address.ts';
import { isCrossSite, isSafeMethod } from '../policy/cross-site.ts';
import { safeReturnUrl } from '../policy/return-url.ts';
import { isBanned, type LookUpSession } from '../policy/session.ts';
import { originHeaders } from './guard.ts';
import { AUTH_PATH } from './paths.ts';

export interface AuthRouteParts {
  /** Better Auth, told the truth about failures; see auth/call.ts. Throws a GatewayError. */
  readonly callAuth: (request: Request) => Promise<Response>;
  /** Makes a Cookie header fit for Better Auth: see sessions/auth-cookies.ts. */
  readonly authCookies: (header: string) => string | undefined;
  /** Names of cookies to end beside Better Auth's own; see sessions/auth-cookies.ts. */
  readonly staleCookies: (header: string, setCookies: readonly string[]) => string[];
  /** Asks the store, past every cache. */
  readonly lookUpInStore: LookUpSession;
  readonly publicUrl: string;
  readonly trustedOrigins: ReadonlySet<string>;
}

/**
 * How an endpoint treats a session that cannot be checked or is banned: `checked` ones are refused before Better
 * Auth is asked, which knows neither; `ending` ones only while the store is away; `open` ones need no session.
 */
type SessionUse = 'checked' | 'ending' | 'open';

interface Endpoint {
  readonly methods: readonly string[];
  readonly session: SessionUse;
}

const get = (session: SessionUse): Endpoint => ({ methods: ['GET'], session });
const post = (session: SessionUse): Endpoint => ({ methods: ['POST'], session });

/** Any other path under /api/auth is routed like any path: an application's own plugins go on working. */
export const AUTH_ENDPOINTS: Readonly<Record<string, Endpoint>> = {
  '/sign-in/social': { methods: ['GET', 'POST'], session: 'open' },
  '/callback/github': get('open'),
  '/pat-signin': post('open'),
  '/get-session': get('checked'),
  '/sign-out': post('ending'),
  '/list-sessions': get('checked'),
  '/revoke-session': post('checked'),
  '/revoke-sessions': post('checked'),
  '/revoke-other-sessions': post('checked'),
  '/list-accounts': get('checked'),
  '/update-user': post('checked'),
  '/delete-user': post('checked'),
  '/admin/*': { methods: ['GET', 'POST'], session: 'checked' },
  '/error': get('open'),
  '/ok': get('open'),
};

const ALL_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const MAX_BODY_BYTES = 64 * 1024;

export function registerAuthRoutes(app: FastifyInstance, parts: AuthRouteParts): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string', bodyLimit: MAX_BODY_BYTES },
    (_request, body, done) => done(null, body),
  );
  const limitPatSignIn = patSignInLimit(app);
  for (const [path, endpoint] of Object.entries(AUTH_ENDPOINTS)) {
    app.route({
      method: ALL_METHODS,
      url: `${AUTH_PATH}${path}`,
      onRequest: async (request) => {
        admit(request, endpoint, parts);
        if (path === '/pat-signin') await limitPatSignIn(request);
        await checkSession(request, endpoint.session, parts.lookUpInStore);
      },
      handler: (request, reply) =>
        path === '/sign-in/social' && request.method === 'GET'
          ? startSignIn(request, reply, parts)
          : answer(request, reply, parts),
    });
  }
}

/** @throws {GatewayError} method-not-allowed, cross-site-request */
function admit(request: FastifyRequest, endpoint: Endpoint, { trustedOrigins }: AuthRouteParts): void {
  request.record.route = request.routeOptions.url ?? null;
  if (!endpoint.methods.includes(request.method))
    throw new GatewayError('method-not-allowed', { headers: { allow: endpoint.methods.join(', ') } });
  // With or without a cookie: another site must not sign a person in as somebody else, either.
  if (!isSafeMethod(request.method) && isCrossSite(originHeaders(request), trustedOrigins))
    throw new GatewayError('cross-site-request');
}

/** @throws {GatewayError} session-store-unavailable, user-banned */
async function checkSession(request: FastifyRequest, use: SessionUse, lookUp: LookUpSession): Promise<void> {
  if (use === 'open') return;
  const lookup = await lookUp(request.headers.cookie);
  if (lookup.outcome === 'failed')
    throw new GatewayError('session-store-unavailable', { cause: lookup.cause });
  if (lookup.outcome === 'found') {
    request.record.userId = lookup.session.userId;
    request.record.impersonatedBy = lookup.session.impersonatedBy;
  }
  const ban = lookup.outcome === 'found' ? lookup.session.ban : (lookup.ban ?? null);
  if (use === 'ending' || !isBanned(ban, Date.now())) return;
  const banExpires = ban.expiresAt === null ? null : new Date(ban.expiresAt).toISOString();
  throw new GatewayError('user-banned', { fields: { banReason: ban.reason, banExpires } });
}

/** The request for Better Auth: its own cookies, the client's true address, an Origin where scripts send none. */
function authRequest(request: FastifyRequest, parts: AuthRouteParts): Request {
  const headers = authHeaders(request, parts);
  const body = typeof request.body === 'string' && request.body !== '' ? request.body : undefined;
  if (body === undefined) headers.delete('content-type');
  const url = `${parts.publicUrl}${request.raw.url}`;
  return new Request(url, { method: request.method, headers, body });
}

const PASSED_HEADERS = ['accept', 'accept-language', 'content-type', 'user-agent', 'origin', 'referer'];

function authHeaders(request: FastifyRequest, { authCookies, publicUrl }: AuthRouteParts): Headers {
  const headers = new Headers({ 'x-forwarded-for': request.record.clientAddress, origin: publicUrl });
  for (const name of PASSED_HEADERS) {
    const value = request.headers[name];
    if (typeof value === 'string') headers.set(name, value);
  }
  const cookies = request.headers.cookie === undefined ? undefined : authCookies(request.headers.cookie);
  if (cookies !== undefined) headers.set('cookie', cookies);
  return headers;
}

async function answer(
  request: FastifyRequest,
  reply: FastifyReply,
  parts: AuthRouteParts,
): Promise<FastifyReply> {
  const response = await parts.callAuth(authRequest(request, parts));
  reply.code(response.status);
  copyHeaders(response, reply);
  for (const name of parts.staleCookies(request.headers.cookie ?? '', response.headers.getSetCookie()))
    reply.setCookie(name, '', endingCookie(name));
  return reply.send(Buffer.from(await response.arrayBuffer()));
}

/** A plain link: the same as the POST that Better Auth's client sends, answered with a redirect. */
async function startSignIn(
  request: FastifyRequest,
  reply: FastifyReply,
  parts: AuthRouteParts,
): Promise<FastifyReply> {
  const query = request.query as Record<string, unknown>;
  const headers = authHeaders(request, parts);
  headers.set('content-type', 'application/json');
  const response = await parts.callAuth(
    new Request(`${parts.publicUrl}${AUTH_PATH}/sign-in/social`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ ...signInBody(query, parts), disableRedirect: true }),
    }),
  );
  if (!response.ok) throw new GatewayError('bad-request', { detail: await refusalText(response) });
  const { url } = (await response.json()) as { url: string };
  copyHeaders(response, reply);
  return reply.removeHeader('content-type').redirect(url, 302);
}

const RETURN_PARAMETERS = ['callbackURL', 'errorCallbackURL', 'newUserCallbackURL'] as const;
const SCOPE_LIST = /^[a-z][a-z0-9_:-]*([\s,]+[a-z][a-z0-9_:-]*)*$/;

/** @throws {GatewayError} bad-request naming the parameter */
function signInBody(query: Record<string, unknown>, parts: AuthRouteParts): Record<string, unknown> {
  const body: Record<string, unknown> = { provider: query.provider ?? 'github' };
  for (const name of RETURN_PARAMETERS) {
    if (query[name] === undefined) continue;
    const url = safeReturnUrl(query[name], parts.publicUrl, parts.trustedOrigins);
    if (url === null)
      throw new GatewayError('bad-request', {
        detail: `${name} must be a path here or an address of a trusted origin.`,
      });
    body[name] = url;
  }
  body.callbackURL ??= '/';
  if (query.scopes === undefined || query.scopes === '') return body;
  if (typeof query.scopes !== 'string' || !SCOPE_LIST.test(query.scopes))
    throw new GatewayError('bad-request', {
      detail: 'scopes must be a list of GitHub scopes, such as repo,workflow.',
    });
  return { ...body, scopes: query.scopes.split(/[\s,]+/) };
}

async function refusalText(response: Response): Promise<string | undefined> {
  const body = (await response.json().catch(() => null)) as { message?: unknown } | null;
  return typeof body?.message === 'string' ? body.message : undefined;
}

function copyHeaders(response: Response, reply: FastifyReply): void {
  for (const [name, value] of response.headers)
    if (name !== 'set-cookie' && name !== 'content-length') reply.header(name, value);
  const cookies = response.headers.getSetCookie();
  if (cookies.length > 0) reply.header('set-cookie', cookies);
  reply.header('cache-control', 'no-store');
}

function endingCookie(name: string) {
  const secure = name.startsWith('__Secure-');
  return { maxAge: 0, path: '/', httpOnly: true, secure, sameSite: 'lax' } as const;
}

/** Five tries a minute for an address: tokens must not be guessed or tried out here. Refuses when it cannot count. */
function patSignInLimit(app: FastifyInstance): (request: FastifyRequest) => Promise<void> {
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
