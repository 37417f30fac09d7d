// Who is asking, and may they pass? The questions of policy/ put to one request, and its refusals thrown.
import type { FastifyRequest } from 'fastify';
import { GatewayError } from '../errors.ts';
import { ownCookieName, pairsOf } from '../policy/cookies.ts';
import { trustsOrigin } from '../policy/cors.ts';
import { isCrossSite, isSafeMethod } from '../policy/cross-site.ts';
import { type Decision, decide, liveSession } from '../policy/decide.ts';
import type { Route } from '../policy/route.ts';
import type { LookUpSession, Lookup, Session } from '../policy/session.ts';
import { isPreflight } from './cross-origin.ts';
import type { Traffic } from './traffic.ts';

export interface JudgeParts {
  readonly lookUp: LookUpSession;
  readonly trustedOrigins: ReadonlySet<string>;
  /** Where a person grants scopes, and signs in again; `callbackURL` brings them back. */
  readonly signInUrl: (scopes: readonly string[], back: string) => string;
  readonly traffic: Traffic;
}

const NOBODY: Lookup = { outcome: 'none', reason: 'no-session-cookie' };

export async function ask(request: FastifyRequest, lookUp: LookUpSession): Promise<Lookup> {
  if (isPreflight(request)) return NOBODY;
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

/**
 * The session that the upstream is told of; null for anonymous callers.
 *
 * @throws {GatewayError} with the code of the decision, unless the route only reports
 */
export function judge(
  request: FastifyRequest,
  route: Route,
  lookup: Lookup | null,
  parts: JudgeParts,
  isUpgrade: boolean,
): Session | null {
  const now = Date.now();
  // What is sent over a WebSocket may change anything.
  const safeMethod = !isUpgrade && isSafeMethod(request.method);
  const crossSite = !safeMethod && isRefusedAsCrossSite(request, route, parts.trustedOrigins);
  const decision = decide({ access: route.access, lookup, crossSite, safeMethod, now });
  if (decision.allow) {
    request.record.decision = 'allow';
    return decision.session;
  }
  const refusal = refusalOf(decision, request, lookup, parts);
  if (!route.reportOnly) throw denial(request, route, refusal, parts.traffic);
  reportRefusal(request, refusal);
  return liveSession(lookup, now);
}

/** Notes that the request is refused. @returns the refusal */
export function denial(
  { record }: FastifyRequest,
  { name }: Route,
  refusal: GatewayError,
  traffic: Traffic,
): GatewayError {
  record.decision = 'deny';
  traffic.on(name).decided('deny', refusal.code);
  return refusal;
}

/** Notes what would have been refused: in the request's record, and, whatever else happens to it, in the log. */
export function reportRefusal(request: FastifyRequest, refusal: GatewayError): void {
  const { record } = request;
  record.decision = 'report';
  record.reason = refusal.code;
  request.log.info(
    { route: record.route, reason: refusal.code, err: refusal.cause },
    'passed on a route that only reports refusals',
  );
}

function refusalOf(
  { code, fields }: Decision & { allow: false },
  { record }: FastifyRequest,
  lookup: Lookup | null,
  { signInUrl }: JudgeParts,
): GatewayError {
  const back = record.target.path + record.target.query;
  const missing = fields.missingScopes as readonly string[] | undefined;
  const granted = (fields.grantedScopes as readonly string[] | undefined) ?? [];
  const links = missing ? { grantUrl: signInUrl([...granted, ...missing], back) } : {};
  const cause = lookup?.outcome === 'failed' ? lookup.cause : undefined;
  return new GatewayError(code, { fields: { ...fields, ...links }, cause });
}

function isRefusedAsCrossSite(
  request: FastifyRequest,
  { refusesCrossSite, cors }: Route,
  trustedOrigins: ReadonlySet<string>,
): boolean {
  if (!refusesCrossSite || !carriesOwnCookie(request)) return false;
  const from = originHeaders(request);
  if (!isCrossSite(from, trustedOrigins)) return false;
  return cors === null || !trustsOrigin(cors, request.method, from.origin);
}

function carriesOwnCookie(request: FastifyRequest): boolean {
  const { cookie } = request.headers;
  return cookie !== undefined && pairsOf(cookie).some(({ name }) => ownCookieName(name) !== null);
}

export function originHeaders(request: FastifyRequest) {
  const site = request.headers['sec-fetch-site'];
  return { origin: request.headers.origin, secFetchSite: Array.isArray(site) ? site[0] : site };
}
