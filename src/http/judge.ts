// Who is asking, and may they pass? The questions of policy/ put to one request, and its refusals thrown.
import type { FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { GatewayError } from '../errors.ts';
import { hasOwnCookie } from '../policy/cookies.ts';
import { trustsOrigin } from '../policy/cors.ts';
import { isCrossSite, isSafeMethod } from '../policy/cross-site.ts';
import { type Decision, decide, liveSession } from '../policy/decide.ts';
import type { Route } from '../policy/route.ts';
import type { LookUpSession, Lookup, Session } from '../policy/session.ts';
import { isPreflight } from './cross-origin.ts';
import type { RequestRecord } from './request-record.ts';
import type { Traffic } from './traffic.ts';

export interface JudgeParts {
  readonly lookUp: LookUpSession;
  readonly trustedOrigins: ReadonlySet<string>;
  /** Where a person grants scopes, and signs in again; `callbackURL` brings them back. */
  readonly signInUrl: (scopes: readonly string[], back: string) => string;
  readonly traffic: Traffic;
  readonly logger: Pick<Logger, 'info'>;
}

const NOBODY: Lookup = { outcome: 'none', reason: 'no-session-cookie' };

/** Answers at once where memory or the cookie itself does: nothing is waited for, nor is the time taken. */
export function ask(request: FastifyRequest, lookUp: LookUpSession): Lookup | Promise<Lookup> {
  if (isPreflight(request)) return NOBODY;
  const asked = lookUp(request.headers.cookie);
  return asked instanceof Promise ? timed(request.record, asked) : noted(request.record, asked);
}

async function timed(record: RequestRecord, asked: Promise<Lookup>): Promise<Lookup> {
  const startedAt = performance.now();
  const lookup = await asked;
  record.lookupMs = performance.now() - startedAt;
  return noted(record, lookup);
}

function noted(record: RequestRecord, lookup: Lookup): Lookup {
  record.lookupMs ??= 0;
  if (lookup.outcome === 'found') {
    record.tier = lookup.tier;
    record.userId = lookup.session.userId;
    record.impersonatedBy = lookup.session.impersonatedBy;
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
  reportRefusal(request, refusal, parts.logger);
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
export function reportRefusal(
  { id, record }: FastifyRequest,
  refusal: GatewayError,
  logger: Pick<Logger, 'info'>,
): void {
  record.decision = 'report';
  record.reason = refusal.code;
  logger.info(
    { requestId: id, route: record.route, reason: refusal.code, err: refusal.cause },
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
  return cookie !== undefined && hasOwnCookie(cookie);
}

export function originHeaders(request: FastifyRequest) {
  const site = request.headers['sec-fetch-site'];
  return { origin: request.headers.origin, secFetchSite: Array.isArray(site) ? site[0] : site };
}
