// GET /api/user-scopes: what the person's GitHub token may do.
import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../errors.ts';
import { decide } from '../policy/decide.ts';
import { USER_SCOPES_PATH } from '../policy/own-paths.ts';
import type { Access } from '../policy/route.ts';
import type { LookUpSession } from '../policy/session.ts';

const SIGNED_IN: Access = {
  kind: 'session',
  scopes: [],
  roles: [],
  unknownScopes: 'deny',
  impersonatorWrites: false,
};

export function registerUserScopes(app: FastifyInstance, lookUp: LookUpSession): void {
  app.all(USER_SCOPES_PATH, async (request, reply) => {
    request.record.route = USER_SCOPES_PATH;
    if (request.method !== 'GET') throw new GatewayError('method-not-allowed', { headers: { allow: 'GET' } });
    const lookup = await lookUp(request.headers.cookie);
    const decision = decide({
      access: SIGNED_IN,
      lookup,
      crossSite: false,
      safeMethod: true,
      now: Date.now(),
    });
    if (!decision.allow) throw new GatewayError(decision.code, { fields: decision.fields });
    if (decision.session?.github === undefined) throw new GatewayError('session-store-unavailable');
    const scopes = decision.session.github?.scopes;
    reply.header('cache-control', 'no-store');
    return scopes === null ? { scopes: [], known: false } : { scopes: scopes ?? [] };
  });
}
