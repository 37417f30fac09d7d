// GET /api/user-scopes: what the person's GitHub token may do, as far as is known. POST: as GitHub says now.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { GatewayError } from '../errors.ts';
import { isCrossSite } from '../policy/cross-site.ts';
import { decide } from '../policy/decide.ts';
import { USER_SCOPES_PATH } from '../policy/own-paths.ts';
import type { Access } from '../policy/route.ts';
import type { LookUpSession, Session } from '../policy/session.ts';
import { originHeaders, type RefusalParts, refusalOf } from './judge.ts';

export interface UserScopesParts extends RefusalParts {
  readonly lookUp: LookUpSession;
  /** Asks GitHub about the token, and keeps what it says. Throws a GatewayError. */
  readonly checkToken: (session: Session) => Promise<'good' | 'refused'>;
}

const SIGNED_IN: Access = {
  kind: 'session',
  scopes: [],
  roles: [],
  unknownScopes: 'deny',
  impersonatorWrites: false,
};

/** So often a minute one person may have GitHub asked. */
const MOST_CHECKS = 10;

export function registerUserScopes(app: FastifyInstance, parts: UserScopesParts): void {
  const limit = app.createRateLimit({
    max: MOST_CHECKS,
    timeWindow: 60_000,
    keyGenerator: (request) => `user-scopes:${request.record.userId}`,
  });
  const answer = async (request: FastifyRequest, reply: FastifyReply) => {
    request.record.route = USER_SCOPES_PATH;
    if (request.method !== 'GET' && request.method !== 'POST')
      throw new GatewayError('method-not-allowed', { headers: { allow: 'GET, POST' } });
    const session = await personOf(request, parts);
    reply.header('cache-control', 'no-store');
    if (request.method === 'GET') return scopesOf(session);
    const verdict = await limit(request).catch((cause: unknown) => {
      throw new GatewayError('session-store-unavailable', { cause });
    });
    if (!verdict.isAllowed && verdict.isExceeded)
      throw new GatewayError('rate-limited', { retryAfterSeconds: verdict.ttlInSeconds });
    if ((await parts.checkToken(session)) === 'refused') {
      const decision = { allow: false, code: 'github-access-denied', fields: {} } as const;
      throw refusalOf(decision, request, { outcome: 'found', session, tier: 'store' }, parts);
    }
    return scopesOf(await personOf(request, parts));
  };
  app.route({
    method: app.supportedMethods,
    url: USER_SCOPES_PATH,
    // Before a body would be read: none is wanted.
    onRequest: async (request, reply) => reply.send(await answer(request, reply)),
    handler: () => {
      throw new GatewayError('internal-error');
    },
  });
}

/** @throws {GatewayError} when nobody is signed in, or may not do this */
async function personOf(request: FastifyRequest, parts: UserScopesParts): Promise<Session> {
  const isRead = request.method === 'GET';
  const lookup = await parts.lookUp(request.headers.cookie);
  const crossSite = !isRead && isCrossSite(originHeaders(request), parts.trustedOrigins);
  const decision = decide({ access: SIGNED_IN, lookup, crossSite, safeMethod: isRead, now: Date.now() });
  if (!decision.allow) throw refusalOf(decision, request, lookup, parts);
  if (decision.session?.github === undefined) throw new GatewayError('session-store-unavailable');
  request.record.userId = decision.session.userId;
  return decision.session;
}

function scopesOf({ github }: Session) {
  return github?.scopes === null ? { scopes: [], known: false } : { scopes: github?.scopes ?? [] };
}
