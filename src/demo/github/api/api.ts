import { randomBytes } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { State } from '../state.ts';
import { ApiError, sendApiError } from './api-error.ts';
import { applicationRoutes } from './applications.ts';
import { authenticate, identify, mayUse, rateHeaders } from './authentication.ts';
import { repositoryBodies, userBody } from './bodies.ts';
import { membershipRoutes } from './memberships.ts';

const emailScopes = ['user', 'user:email'];

/** The REST API: registered at the root as on api.github.com, and below `/api/v3` as on an Enterprise Server. */
export async function apiRoutes(server: FastifyInstance, { state }: { state: State }): Promise<void> {
  server.setErrorHandler(sendApiError);
  server.addHook('onRequest', addCommonHeaders);
  server.addHook('onRequest', refuseWithoutUserAgent);

  server.get('/user', async (request, reply) => {
    return userBody(authenticate(state, request, reply).person, state.url);
  });

  server.get('/user/emails', async (request, reply) => {
    const { person, token } = authenticate(state, request, reply, emailScopes);
    if (mayUse(token, emailScopes)) return person.emails;
    throw token.kind === 'fine-grained'
      ? new ApiError(403, 'Resource not accessible by personal access token')
      : new ApiError(404, 'Not Found');
  });

  server.get('/user/repos', async (request, reply) => {
    const { person, token } = authenticate(state, request, reply);
    return repositoryBodies(person, state.url, mayUse(token, ['repo']));
  });

  server.get('/rate_limit', async (request, reply) => {
    const caller = identify(state, request.headers.authorization);
    const window = state.rates.look(caller?.person.id ?? null);
    reply.headers(rateHeaders(window));
    const { limit, used, remaining, resetAt: reset } = window;
    const core = { limit, used, remaining, reset };
    return { resources: { core }, rate: core };
  });

  await server.register(membershipRoutes, { state });
  await server.register(applicationRoutes, { state });
}

async function addCommonHeaders(_request: FastifyRequest, reply: FastifyReply): Promise<void> {
  reply.headers({
    'x-github-request-id': randomBytes(16)
      .toString('hex')
      .toUpperCase()
      .replace(/.{8}(?!$)/g, '$&:'),
    'x-github-media-type': 'github.v3; format=json',
    'cache-control': 'private, max-age=60, s-maxage=60',
    vary: 'Accept, Authorization',
  });
}

async function refuseWithoutUserAgent(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  if (request.headers['user-agent']) return;
  await reply
    .code(403)
    .type('text/html; charset=utf-8')
    .send(
      'Request forbidden by administrative rules. Please make sure your request has a User-Agent header.\n',
    );
}
