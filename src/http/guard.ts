// The way of a proxied request: route, credential, lookup, decision, then forwarding. Whatever nobody lets pass is
// refused here. See the walk in ARCHITECTURE.md.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { GatewayError } from '../errors.ts';
import { forward } from '../forwarding/forward.ts';
import { hasBody } from '../forwarding/request-body.ts';
import { buildRequestHeaders, type Origin } from '../forwarding/request-headers.ts';
import type { Upstream } from '../forwarding/upstream.ts';
import { NO_COOKIES, ownCookieName, pairsOf, SESSION_COOKIES } from '../policy/cookies.ts';
import { isCrossSite, isSafeMethod } from '../policy/cross-site.ts';
import { decide } from '../policy/decide.ts';
import { type MatchRoute, type Route, upstreamPath } from '../policy/route.ts';
import type { ExtendSession, LookUpSession, Lookup, Session } from '../policy/session.ts';

export interface GuardParts {
  readonly matchRoute: MatchRoute;
  readonly lookUp: LookUpSession;
  readonly extend: ExtendSession;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  /** Headers that announce the person to this upstream, GitHub token included where it asks for it. */
  readonly identify: (
    session: Session,
    upstream: Upstream,
    options?: { token: boolean },
  ) => string[] | Promise<string[]>;
  readonly trustedOrigins: ReadonlySet<string>;
  readonly forwarded: (request: FastifyRequest) => Origin;
  /** Where a person grants scopes, and signs in again; `callbackURL` brings them back. */
  readonly signInUrl: (scopes: readonly string[], back: string) => string;
}

// CONNECT asks for a tunnel and TRACE reflects headers: neither is for a gateway.
const REFUSED_METHODS = ['CONNECT', 'TRACE'];

/** Registers the route that takes every path the gateway does not answer itself. */
export function registerGuard(app: FastifyInstance, parts: GuardParts): void {
  app.route({
    method: app.supportedMethods.filter((method) => !REFUSED_METHODS.includes(method)),
    url: '/*',
    // Before Fastify reads the body: it is the upstream's, whatever type and length it claims.
    onRequest: (request, reply) => guard(request, reply, parts),
    handler: () => {
      throw new GatewayError('internal-error');
    },
  });
}

async function guard(request: FastifyRequest, reply: FastifyReply, parts: GuardParts): Promise<FastifyReply> {
  const route = findRoute(request, parts.matchRoute);
  const lookup = route.access.kind === 'public' ? null : await ask(request, parts.lookUp);
  const session = judge(request, route, lookup, parts);
  const upstream = parts.upstreams.get(route.upstream);
  if (!upstream) throw new GatewayError('internal-error');
  const identity = session === null ? [] : await identityFor(session, upstream, route, request, parts);
  const ownCookie = session === null ? null : await parts.extend(session, request.headers.cookie);
  await send(request, reply, { route, upstream, identity, origin: parts.forwarded(request), ownCookie });
  return reply;
}

/** @throws {GatewayError} route-not-found, method-not-allowed */
function findRoute(request: FastifyRequest, matchRoute: MatchRoute): Route {
  const match = matchRoute(request.method, request.record.target);
  if (match.found === 'nothing') throw new GatewayError('route-not-found');
  if (match.found === 'other-methods')
    throw new GatewayError('method-not-allowed', { headers: { allow: match.allow.join(', ') } });
  request.record.route = match.route.name;
  request.record.upstream = match.route.upstream;
  return match.route;
}

async function ask(request: FastifyRequest, lookUp: LookUpSession): Promise<Lookup> {
  const startedAt = performance.now();
  const lookup = await lookUp(request.headers.cookie);
  request.record.lookupMs = performance.now() - startedAt;
  if (lookup.outcome === 'found') {
    request.record.tier = lookup.tier;
    request.record.userId = lookup.session.userId;
    request.record.impersonatedBy = lookup.session.impersonatedBy;
  }
  return lookup;
}

/** @throws {GatewayError} with the code of the decision */
function judge(
  request: FastifyRequest,
  route: Route,
  lookup: Lookup | null,
  parts: GuardParts,
): Session | null {
  const { record, method } = request;
  const safeMethod = isSafeMethod(method);
  const crossSite =
    !safeMethod && carriesOwnCookie(request) && isCrossSite(originHeaders(request), parts.trustedOrigins);
  const decision = decide({ access: route.access, lookup, crossSite, safeMethod, now: Date.now() });
  record.decision = decision.allow ? 'allow' : 'deny';
  if (decision.allow) return decision.session;
  const back = record.target.path + record.target.query;
  const missing = decision.fields.missingScopes as readonly string[] | undefined;
  const granted = (decision.fields.grantedScopes as readonly string[] | undefined) ?? [];
  const links = missing ? { grantUrl: parts.signInUrl([...granted, ...missing], back) } : {};
  const cause = lookup?.outcome === 'failed' ? lookup.cause : undefined;
  throw new GatewayError(decision.code, { fields: { ...decision.fields, ...links }, cause });
}

/** @throws {GatewayError} reauth-required when the upstream wants a token and there is none to give */
async function identityFor(
  session: Session,
  upstream: Upstream,
  route: Route,
  request: FastifyRequest,
  parts: GuardParts,
): Promise<string[]> {
  const { target } = request.record;
  try {
    return await parts.identify(session, upstream);
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code !== 'reauth-required') throw error;
    // Where nobody need be signed in, a missing token keeps nobody out.
    if (route.access.kind === 'optional') return parts.identify(session, upstream, { token: false });
    request.record.decision = 'deny';
    const reauthUrl = parts.signInUrl([], target.path + target.query);
    throw new GatewayError('reauth-required', { fields: { reauthUrl }, cause: error.cause });
  }
}

interface Dispatch {
  readonly route: Route;
  readonly upstream: Upstream;
  readonly identity: readonly string[];
  readonly origin: Origin;
  readonly ownCookie: string | null;
}

async function send(request: FastifyRequest, reply: FastifyReply, dispatch: Dispatch): Promise<void> {
  const { route, upstream, identity, origin, ownCookie } = dispatch;
  const target = upstream.nextTarget();
  if (!target) throw new GatewayError('upstream-unavailable');
  const { record } = request;
  const headers = buildRequestHeaders({
    rawHeaders: request.raw.rawHeaders,
    origin,
    requestId: request.id,
    host: target.host,
    identity,
    replacesAuthorization: upstream.options.githubToken === 'bearer' && identity.length > 0,
    keptCookies: upstream.options.cookies === 'pass' ? SESSION_COOKIES : NO_COOKIES,
    hasBody: hasBody(request.raw),
  });
  const path = upstreamPath(route, record.target) + record.target.query;
  record.upstreamStartedAt = performance.now();
  // The answer is the upstream's; Fastify takes over again only to say what went wrong.
  await forward({
    upstream,
    target,
    request: request.raw,
    response: reply.raw,
    path,
    headers,
    requestId: request.id,
    ownCookie,
    mount: { outside: route.stripPrefix, inside: '' },
  });
  reply.hijack();
}

function carriesOwnCookie(request: FastifyRequest): boolean {
  const { cookie } = request.headers;
  return cookie !== undefined && pairsOf(cookie).some(({ name }) => ownCookieName(name) !== null);
}

export function originHeaders(request: FastifyRequest) {
  const site = request.headers['sec-fetch-site'];
  return { origin: request.headers.origin, secFetchSite: Array.isArray(site) ? site[0] : site };
}
