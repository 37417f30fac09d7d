import type { FastifyInstance, FastifyRequest } from 'fastify';
import { basicCredentials, isApp } from '../oauth/client-credentials.ts';
import type { State } from '../state.ts';
import type { Token } from '../tokens.ts';
import { ApiError } from './api-error.ts';
import { accountBody } from './bodies.ts';

type ForClient = { Params: { client_id: string } };

/** `/applications/{client_id}/…`: an application asks about, or ends, tokens it was given. */
export async function applicationRoutes(server: FastifyInstance, { state }: { state: State }): Promise<void> {
  server.post<ForClient>('/applications/:client_id/token', async (request) => {
    return checkedTokenBody(state, requireToken(state, request, 404));
  });

  server.delete<ForClient>('/applications/:client_id/token', async (request, reply) => {
    state.tokens.revoke(requireToken(state, request, 422).text);
    return reply.code(204).send();
  });

  server.delete<ForClient>('/applications/:client_id/grant', async (request, reply) => {
    const { personId } = requireToken(state, request, 422);
    state.tokens.revokeGrant(personId, state.app.clientId);
    return reply.code(204).send();
  });
}

function requireToken(state: State, request: FastifyRequest<ForClient>, whenUnknown: 404 | 422): Token {
  const credentials = basicCredentials(request.headers.authorization);
  if (!isApp(state.app, credentials)) throw new ApiError(401, 'Bad credentials');
  if (request.params.client_id !== state.app.clientId) throw new ApiError(404, 'Not Found');
  const text = accessTokenIn(request.body);
  if (text === undefined) throw new ApiError(422, 'Validation Failed');
  const token = state.tokens.find(text);
  if (token?.clientId === state.app.clientId) return token;
  throw new ApiError(whenUnknown, whenUnknown === 404 ? 'Not Found' : 'Validation Failed');
}

function accessTokenIn(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null || !('access_token' in body)) return undefined;
  return typeof body.access_token === 'string' ? body.access_token : undefined;
}

function checkedTokenBody(state: State, token: Token) {
  const { app, url, people } = state;
  const person = people.byId(token.personId);
  return {
    id: token.createdAt,
    url: `${url}/api/v3/authorizations/${token.createdAt}`,
    app: { client_id: app.clientId, name: app.name, url },
    token: token.text,
    token_last_eight: token.text.slice(-8),
    note: null,
    scopes: token.scopes,
    created_at: new Date(token.createdAt).toISOString(),
    expires_at: token.expiresAt === null ? null : new Date(token.expiresAt).toISOString(),
    user: person ? accountBody(person, url) : null,
  };
}
