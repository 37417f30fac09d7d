// The way of a proxied request: route, credential, lookup, decision, then forwarding. Whatever nobody lets pass is
// refused here. See the walk in ARCHITECTURE.md.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { GatewayError } from '../errors.ts';
import { type ForwardOptions, forward } from '../forwarding/forward.ts';
import type { TokenWatch } from '../forwarding/github-status.ts';
import { overHttp2 } from '../forwarding/http2.ts';
import type { Identify } from '../forwarding/identities.ts';
import { type IdentityHeaders, NOBODY } from '../forwarding/identity-headers.ts';
import { hasBody } from '../forwarding/request-body.ts';
import { buildRequestHeaders, type Origin } from '../forwarding/request-headers.ts';
import type { OnStream } from '../forwarding/streams.ts';
import type { Upstream } from '../forwarding/upstream.ts';
import type { Upgrade } from '../forwarding/websocket.ts';
import { NO_COOKIES, SESSION_COOKIES } from '../policy/cookies.ts';
import { isSafeMethod } from '../policy/cross-site.ts';
import { isOwnPath } from '../policy/own-paths.ts';
import { type Route, upstreamPath } from '../policy/route.ts';
import type { MatchRoute, RouteMatch } from '../policy/route-table.ts';
import type { PassCookies, RenewSession, Session } from '../policy/session.ts';
import type { Target } from '../policy/target.ts';
import { allowReading, answerPreflight } from './cross-origin.ts';
import { ask, denial, type JudgeParts, judge, NEEDS_SIGN_IN, reportRefusal } from './judge.ts';
import type { OpenStreams } from './open-streams.ts';
import { passedHeaders } from './passed-headers.ts';
import type { LimitRequest } from './rate-limits.ts';
import { ambiguousPath, ROUTED } from './request-checks.ts';
import { type TokenWatchParts, tokenRefusal, watchToken } from './token-watch.ts';
import { upgradeOf } from './upgrades.ts';

export interface GuardParts extends JudgeParts, TokenWatchParts {
  readonly matchRoute: MatchRoute;
  readonly renew: RenewSession;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly identify: Identify;
  /** For upstreams that read sessions themselves. */
  readonly passCookies: PassCookies;
  readonly forwarded: (request: FastifyRequest) => Origin;
  readonly streams: OpenStreams;
  readonly limit: LimitRequest;
}

// CONNECT asks for a tunnel and TRACE reflects headers: neither is for a gateway.
const REFUSED_METHODS = ['CONNECT', 'TRACE'];
const NO_LINES: readonly string[] = [];

/** Registers the route that takes every path the gateway does not answer itself. */
export function registerGuard(app: FastifyInstance, parts: GuardParts): void {
  app.route({
    method: app.supportedMethods.filter((method) => !REFUSED_METHODS.includes(method)),
    url: ROUTED,
    // Before Fastify reads the body: it is the upstream's, whatever type and length it claims.
    onRequest: (request, reply) => guard(request, reply, parts),
    handler: () => {
      throw new GatewayError('internal-error');
    },
  });
}

async function guard(request: FastifyRequest, reply: FastifyReply, parts: GuardParts): Promise<FastifyReply> {
  const { target } = request.record;
  const origin = parts.forwarded(request);
  if (isOurs(target)) throw new GatewayError('route-not-found');
  if (answerPreflight(request, reply, (method) => parts.matchRoute(method, target, origin.host)))
    return reply;
  const route = routeOf(request, parts.matchRoute(request.method, target, origin.host));
  const cors = allowReading(request, reply, route);
  const upgrade = upgradeOf(request.raw);
  // What is known already is not waited for: nearly every request goes its way without.
  const asked = route.access.kind === 'public' ? null : ask(request, parts.lookUp);
  const lookup = asked instanceof Promise ? await asked : asked;
  const session = judge(request, route, lookup, parts, upgrade !== null);
  if (session instanceof GatewayError) return reply.send(session);
  if (upgrade) parts.streams.refuseBeyondLimits({ session, route });
  refuseLargeBody(request, route);
  const upstream = parts.upstreams.get(route.upstream);
  if (!upstream) throw new GatewayError('internal-error');
  const announced = session === null ? NOBODY : identityFor(session, upstream, route, request, parts);
  const identity = announced instanceof Promise ? await announced : announced;
  if (route.rateLimit !== null) await parts.limit(request, route);
  const { decision, reason } = request.record;
  if (decision) parts.traffic.on(route.name).decided(decision, reason);
  // Whom the lists keep out passes at most as reported, and is given nothing for the time of an outage.
  const isKeptOut = lookup?.outcome === 'found' && lookup.restriction !== undefined;
  const renewed = session && !isKeptOut ? parts.renew(session, request.headers.cookie) : null;
  const ownCookies = renewed === null ? NO_LINES : await renewed;
  const answer = { cors, authenticated: session !== null };
  const onStream = streamOpener(request, route, session, upgrade, parts);
  const rawHeaders = passedHeaders(
    request,
    upstream,
    lookup === null ? undefined : session,
    parts.passCookies,
  );
  const shown = { rawHeaders, identity, origin };
  // The answer is the upstream's; Fastify takes over again only to say what went wrong.
  const token = watchToken(request, session, route, upstream, parts);
  await send(request, reply, { ...shown, route, upstream, answer, ownCookies, upgrade, onStream, token });
  request.record.isWebSocket = upgrade !== null && !reply.raw.headersSent && !reply.raw.destroyed;
  return reply.hijack();
}

function streamOpener(
  { method, headers: { cookie: cookieHeader } }: FastifyRequest,
  route: Route,
  session: Session | null,
  upgrade: Upgrade | null,
  { streams, traffic }: GuardParts,
): OnStream {
  const safeMethod = upgrade === null && isSafeMethod(method);
  return (kind, end) => {
    const release = streams.open({ kind, session, cookieHeader, route, safeMethod, end });
    if (kind === 'long') return release;
    traffic.streams++;
    return () => {
      traffic.streams--;
      release();
    };
  };
}

/** Fastify finds our own paths in any case; with a slash at the end, or in escapes it does not decode, it would not. */
function isOurs({ path, matchPath }: Target): boolean {
  return (path.endsWith('/') || matchPath !== path) && isOwnPath(matchPath);
}

/** @throws {GatewayError} ambiguous-path, route-not-found, method-not-allowed */
function routeOf({ record }: FastifyRequest, match: RouteMatch): Route {
  switch (match.found) {
    case 'route':
      record.route = match.route.name;
      record.upstream = match.route.upstream;
      return match.route;
    case 'ambiguous':
      throw ambiguousPath(match.reason);
    case 'other-methods':
      throw new GatewayError('method-not-allowed', { headers: { allow: match.allow.join(', ') } });
    default:
      throw new GatewayError('route-not-found');
  }
}

/**
 * A body that says how long it is, is refused before it comes; forward() counts the others.
 *
 * @throws {GatewayError} body-too-large
 */
function refuseLargeBody({ headers }: FastifyRequest, { limits }: Route): void {
  if (limits?.maxBodyBytes !== undefined && Number(headers['content-length'] ?? 0) > limits.maxBodyBytes)
    throw new GatewayError('body-too-large');
}

/** @throws {GatewayError} reauth-required when the upstream wants a token and there is none to give */
function identityFor(
  session: Session,
  upstream: Upstream,
  route: Route,
  request: FastifyRequest,
  parts: GuardParts,
): IdentityHeaders | Promise<IdentityHeaders> {
  const identity = parts.identify(session, upstream);
  if (!(identity instanceof Promise)) return identity;
  return identity.catch((error: unknown) => {
    if (!(error instanceof GatewayError) || !NEEDS_SIGN_IN.has(error.code)) throw error;
    // Where nobody need be signed in, a missing token keeps nobody out.
    if (route.access.kind === 'optional') return parts.identify(session, upstream, { token: false });
    const refusal = tokenRefusal(error, session, request, parts);
    if (!route.reportOnly) throw denial(request, route, refusal, parts.traffic);
    reportRefusal(request, refusal, parts.logger);
    return parts.identify(session, upstream, { token: false });
  });
}

interface Dispatch {
  readonly rawHeaders: readonly string[];
  readonly route: Route;
  readonly upstream: Upstream;
  readonly identity: IdentityHeaders;
  readonly answer: ForwardOptions['answer'];
  readonly origin: Origin;
  readonly ownCookies: readonly string[];
  readonly upgrade: Upgrade | null;
  readonly onStream: OnStream;
  readonly token: TokenWatch | null;
}

function send(request: FastifyRequest, reply: FastifyReply, dispatch: Dispatch): Promise<void> {
  const { rawHeaders, route, upstream, identity, answer, origin, ownCookies } = dispatch;
  const { record } = request;
  const headers = buildRequestHeaders({
    rawHeaders,
    origin,
    requestId: request.id,
    // Filled in when the target is chosen.
    host: '',
    replacesAuthorization: identity.replacesAuthorization,
    keptCookies: upstream.options.cookies === 'pass' ? SESSION_COOKIES : NO_COOKIES,
    hasBody: hasBody(request.raw),
  });
  const path = upstreamPath(route, record.target) + record.target.query;
  record.upstreamStartedAt = performance.now();
  return forward({
    upstream,
    request: request.raw,
    response: reply.raw,
    path,
    limits: route.limits,
    answer,
    mount: route.mount,
    finalEvent: route.finalEvent,
    onStream: dispatch.onStream,
    upgrade: dispatch.upgrade,
    token: dispatch.token,
    carry: upstream.options.protocol === 'http1' ? undefined : overHttp2(reply),
    headers,
    identity,
    requestId: request.id,
    ownCookies,
  });
}
