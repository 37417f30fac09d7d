// Sign-in and sessions under /api/auth: the listed endpoints of Better Auth, and nothing else of it.

import type {} from '@fastify/cookie';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { GatewayError } from '../errors.ts';
import { isCrossSite, isSafeMethod } from '../policy/cross-site.ts';
import { AUTH_ENDPOINTS, AUTH_PATH, type Endpoint, type SessionUse } from '../policy/own-paths.ts';
import { banFields, isBanned, type LookUpSession, type Session } from '../policy/session.ts';
import { readSignInStart } from '../policy/sign-in.ts';
import { originHeaders } from './judge.ts';
import { patSignInLimit, signInStartLimit } from './sign-in-limits.ts';
import { MAX_BODY_BYTES, smallBody } from './small-body.ts';

export interface AuthRouteParts {
  /** Better Auth, told the truth about failures; see auth/call.ts. Throws a GatewayError. */
  readonly callAuth: (request: Request) => Promise<Response>;
  /** As callAuth; when it throws, nothing has been changed. */
  readonly callAuthInTransaction: (request: Request) => Promise<Response>;
  /** Makes a Cookie header fit for Better Auth: see sessions/auth-cookies.ts. */
  readonly authCookies: (header: string) => string | undefined;
  /** Names of cookies to end beside Better Auth's own; see sessions/auth-cookies.ts. */
  readonly staleCookies: (header: string, setCookies: readonly string[]) => string[];
  /** Asks the store, past every cache. */
  readonly lookUpInStore: LookUpSession;
  /** As lookUpInStore; and may the person be here? */
  readonly lookUpAdmitted: LookUpSession;
  /** The Set-Cookie line for a session whose cookie an older secret has signed. */
  readonly resign: (session: Session, cookieHeader: string | undefined) => string | null;
  /** Told after every session of a person was ended. Never throws. */
  readonly onSignedOutEverywhere: (userId: string) => Promise<void>;
  readonly publicUrl: string;
  /** Where people are sent to authorize. */
  readonly githubUrl: string;
  readonly trustedOrigins: ReadonlySet<string>;
}

export function registerAuthRoutes(app: FastifyInstance, parts: AuthRouteParts): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string', bodyLimit: MAX_BODY_BYTES },
    (_request, body, done) => done(null, body),
  );
  // An empty body is of no type, whatever it calls itself: `curl -d ''` says it is a form.
  app.addContentTypeParser('*', { parseAs: 'string', bodyLimit: MAX_BODY_BYTES }, (_request, body, done) =>
    body.length === 0 ? done(null, undefined) : done(new GatewayError('unsupported-media-type'), undefined),
  );
  // Runs when a request has passed and its body is wanted.
  app.addHook('preParsing', smallBody);
  const limitPatSignIn = patSignInLimit(app);
  const limitStart = signInStartLimit(app);
  for (const [path, endpoint] of Object.entries(AUTH_ENDPOINTS)) {
    app.route({
      method: app.supportedMethods,
      url: `${AUTH_PATH}${path}`,
      onRequest: async (request, reply) => {
        admit(request, endpoint, parts);
        if (path === '/pat-signin') await limitPatSignIn(request);
        // Whoever leaves may, whatever else is said of them.
        const lookUp = endpoint.session === 'ending' ? parts.lookUpInStore : parts.lookUpAdmitted;
        const session = await checkSession(request, endpoint.session, lookUp);
        const line =
          session && endpoint.session === 'checked' && parts.resign(session, request.headers.cookie);
        // What Better Auth says of it comes later, and counts.
        if (line) reply.header('set-cookie', line);
        if (path !== '/sign-out') refuseImpersonated(request);
      },
      handler: (request, reply) => {
        refuseOtherSpelling(request);
        return path === '/sign-in/social'
          ? startSignIn(request, reply, limitStart, parts)
          : answer(request, reply, endpoint, parts);
      },
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

/** @throws {GatewayError} session-store-unavailable, user-banned; the code of a restriction */
async function checkSession(
  request: FastifyRequest,
  use: SessionUse,
  lookUp: LookUpSession,
): Promise<Session | null> {
  if (use === 'open') return null;
  const lookup = await lookUp(request.headers.cookie);
  if (lookup.outcome === 'failed')
    throw new GatewayError(lookup.code ?? 'session-store-unavailable', { status: 503, cause: lookup.cause });
  if (lookup.outcome === 'found') {
    request.record.userId = lookup.session.userId;
    request.record.impersonatedBy = lookup.session.impersonatedBy;
  }
  if (use === 'ending') return lookup.outcome === 'found' ? lookup.session : null;
  const ban = lookup.outcome === 'found' ? lookup.session.ban : (lookup.ban ?? null);
  if (isBanned(ban, Date.now())) throw new GatewayError('user-banned', { fields: banFields(ban) });
  const restriction = lookup.outcome === 'found' ? lookup.restriction : undefined;
  if (restriction) throw new GatewayError(restriction.code, restriction);
  return lookup.outcome === 'found' ? lookup.session : null;
}

/**
 * An administrator who acts as somebody else changes nothing of theirs, here as on the routes.
 *
 * @throws {GatewayError} impersonation-read-only
 */
function refuseImpersonated({ method, record }: FastifyRequest): void {
  const ends = record.target.matchPath.toLowerCase() === `${AUTH_PATH}/admin/stop-impersonating`;
  if (record.impersonatedBy !== null && !isSafeMethod(method) && !ends)
    throw new GatewayError('impersonation-read-only');
}

/**
 * Every endpoint has one spelling: whoever filters or counts by path in front of us sees each request to it. Said last,
 * so that tries in another spelling are counted all the same.
 *
 * @throws {GatewayError} route-not-found
 */
function refuseOtherSpelling({ record: { target } }: FastifyRequest): void {
  if (target.path !== target.matchPath.toLowerCase()) throw new GatewayError('route-not-found');
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
  endpoint: Endpoint,
  parts: AuthRouteParts,
): Promise<FastifyReply> {
  const { callAuth, callAuthInTransaction } = parts;
  // Signing in looks after itself: it waits for GitHub in between.
  const changesSessions = endpoint.session !== 'open' && !isSafeMethod(request.method);
  const call = changesSessions ? callAuthInTransaction : callAuth;
  const response = await call(authRequest(request, parts));
  const person = response.ok ? signedOutEverywhere(request) : null;
  if (person !== null) await parts.onSignedOutEverywhere(person);
  return sendResponse(request, reply, response, parts);
}

/** Whose sessions this has ended, all of them; null when it is another request. */
function signedOutEverywhere(request: FastifyRequest): string | null {
  switch (request.record.target.path) {
    case `${AUTH_PATH}/revoke-sessions`:
      return request.record.userId;
    case `${AUTH_PATH}/admin/revoke-user-sessions`: {
      const { userId } = jsonObject(request.body);
      return typeof userId === 'string' ? userId : null;
    }
    default:
      return null;
  }
}

async function sendResponse(
  request: FastifyRequest,
  reply: FastifyReply,
  response: Response,
  parts: AuthRouteParts,
): Promise<FastifyReply> {
  copyHeaders(response, reply, parts);
  for (const name of parts.staleCookies(request.headers.cookie ?? '', response.headers.getSetCookie()))
    reply.setCookie(name, '', endingCookie(name));
  return reply.code(response.status).send(Buffer.from(await response.arrayBuffer()));
}

/** A plain link is the same as the POST of Better Auth's client, but answered with a redirect. */
async function startSignIn(
  request: FastifyRequest,
  reply: FastifyReply,
  limit: (request: FastifyRequest) => Promise<void>,
  parts: AuthRouteParts,
): Promise<FastifyReply> {
  const isLink = request.method === 'GET';
  const asked = isLink ? (request.query as Record<string, unknown>) : jsonObject(request.body);
  const read = readSignInStart(asked, parts.publicUrl, parts.trustedOrigins);
  if (!read.ok) throw new GatewayError('bad-request', { detail: read.fault });
  await limit(request);
  const headers = authHeaders(request, parts);
  headers.set('content-type', 'application/json');
  const body = JSON.stringify(isLink ? { ...read.start, disableRedirect: true } : read.start);
  const url = `${parts.publicUrl}${AUTH_PATH}/sign-in/social`;
  const response = await parts.callAuth(new Request(url, { method: 'POST', headers, body }));
  if (!isLink) return sendResponse(request, reply, response, parts);
  if (!response.ok) throw new GatewayError('bad-request', { detail: await refusalText(response) });
  const { url: authorizeUrl } = (await response.json()) as { url: string };
  copyHeaders(response, reply, parts);
  return reply.removeHeader('content-type').redirect(authorizeUrl, 302);
}

/** @throws {GatewayError} bad-request */
function jsonObject(body: unknown): Record<string, unknown> {
  try {
    const value: unknown = typeof body === 'string' ? JSON.parse(body) : null;
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {}
  throw new GatewayError('bad-request', { detail: 'The body must be a JSON object.' });
}

async function refusalText(response: Response): Promise<string | undefined> {
  const body = (await response.json().catch(() => null)) as { message?: unknown } | null;
  return typeof body?.message === 'string' ? body.message : undefined;
}

/** @throws {GatewayError} bad-request for a redirect that leaves us for a place nobody trusts */
function copyHeaders(response: Response, reply: FastifyReply, parts: AuthRouteParts): void {
  const location = response.headers.get('location');
  if (location !== null && !isTrustedLocation(location, parts)) throw new GatewayError('bad-request');
  for (const [name, value] of response.headers)
    if (name !== 'set-cookie' && name !== 'content-length') reply.header(name, value);
  const cookies = response.headers.getSetCookie();
  if (cookies.length > 0) reply.header('set-cookie', cookies);
  reply.header('cache-control', 'no-store');
}

/** The last check on every redirect, whoever made it, by what browsers would follow. */
function isTrustedLocation(
  location: string,
  { publicUrl, trustedOrigins, githubUrl }: AuthRouteParts,
): boolean {
  if (!URL.canParse(location, publicUrl)) return false;
  const { origin } = new URL(location, publicUrl);
  return trustedOrigins.has(origin) || origin === new URL(githubUrl).origin;
}

function endingCookie(name: string) {
  const secure = name.startsWith('__Secure-');
  return { maxAge: 0, path: '/', httpOnly: true, secure, sameSite: 'lax' } as const;
}
