// Who is asking, and may they pass? The questions of policy/ put to one request.
import type { FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { GatewayError } from '../errors.ts';
import { hasOwnCookie } from '../policy/cookies.ts';
import { trustsOrigin } from '../policy/cors.ts';
import { isCrossSite, isSafeMethod } from '../policy/cross-site.ts';
import { type Decision, type DenyCode, decide, liveSession } from '../policy/decide.ts';
import { safeReturnUrl } from '../policy/return-url.ts';
import type { Route } from '../policy/route.ts';
import type { LookUpSession, Lookup, Session } from '../policy/session.ts';
import { isPreflight } from './cross-origin.ts';
import type { RequestRecord } from './request-record.ts';
import type { Traffic } from './traffic.ts';
import { wantsPage } from './wants-page.ts';

/** What a refusal says about the way out of it. */
export interface RefusalParts {
  readonly publicUrl: string;
  readonly trustedOrigins: ReadonlySet<string>;
  /** Where a person grants scopes, and signs in again; `callbackURL` brings them back. */
  readonly signInUrl: (scopes: readonly string[], back: string) => string;
}

export interface JudgeParts extends RefusalParts {
  readonly lookUp: LookUpSession;
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
 * The session that the upstream is told of, null for anonymous callers; or why the request is refused, unless the route
 * only reports. The refusal is returned: V8 leaves a function that always throws to its interpreter for ever, and a flood
 * of requests that are refused should cost least of all.
 */
export function judge(
  request: FastifyRequest,
  route: Route,
  lookup: Lookup | null,
  parts: JudgeParts,
  isUpgrade: boolean,
): Session | null | GatewayError {
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
  if (!route.reportOnly) return denial(request, route, refusal, parts.traffic);
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

export function refusalOf(
  { code, fields, detail }: Decision & { allow: false },
  request: FastifyRequest,
  lookup: Lookup | null,
  parts: RefusalParts,
): GatewayError {
  const links = linksOf(code, fields, lookup, (scopes) =>
    parts.signInUrl(scopes, whereToReturn(request, parts)),
  );
  const cause = lookup?.outcome === 'failed' ? lookup.cause : undefined;
  const status = code === 'github-unavailable' ? 503 : undefined;
  return new GatewayError(code, { status, detail, fields: { ...fields, ...links }, cause });
}

/** Where a person gets what was missing: scopes beside those they have granted, or a token at all. */
function linksOf(
  code: DenyCode,
  fields: Record<string, unknown>,
  lookup: Lookup | null,
  link: (scopes: readonly string[]) => string,
): Record<string, string> {
  const missing = fields.missingScopes as readonly string[] | undefined;
  const granted = (lookup?.outcome === 'found' && lookup.session.github?.scopes) || [];
  if (missing) return { grantUrl: link([...granted, ...missing]) };
  return NEEDS_SIGN_IN.has(code) || code === 'membership-missing' ? { reauthUrl: link(granted) } : {};
}

/** Refusals that a new sign-in at GitHub puts right. */
export const NEEDS_SIGN_IN: ReadonlySet<string> = new Set(['reauth-required', 'github-access-denied']);

/**
 * The page the person is on: what they navigated to, or the one whose script asked. Scripts elsewhere come back to what
 * they asked for, if that can be asked for again.
 */
export function whereToReturn(request: FastifyRequest, { publicUrl, trustedOrigins }: RefusalParts): string {
  const { target } = request.record;
  const page = wantsPage(request) ? null : safeReturnUrl(request.headers.referer, publicUrl, trustedOrigins);
  return page ?? (isSafeMethod(request.method) ? target.path + target.query : '/');
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
