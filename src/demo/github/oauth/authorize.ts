import type { FastifyInstance, FastifyReply } from 'fastify';
import type { State } from '../state.ts';
import { authorizePage, messagePage, pagePolicy } from './authorize-page.ts';
import { type AuthorizeRequest, checkAuthorizeRequest } from './authorize-request.ts';
import { acceptForms, bodyParameters } from './form-body.ts';
import { oauthError } from './oauth-errors.ts';
import { callbackWith } from './redirect-uri.ts';

const path = '/login/oauth/authorize';
const carriedOver = [
  'client_id',
  'redirect_uri',
  'scope',
  'state',
  'code_challenge',
  'code_challenge_method',
];

/** `/login/oauth/authorize`: the page, and the form it sends. */
export async function authorizeRoutes(server: FastifyInstance, { state }: { state: State }): Promise<void> {
  acceptForms(server);

  server.get(path, async (request, reply) => {
    const parameters = new URL(request.url, state.url).searchParams;
    const check = checkAuthorizeRequest(parameters, state.app);
    if (check.outcome === 'unknown-client') return sendNotFound(reply);
    if (check.outcome === 'refused') return reply.redirect(check.location);
    return sendPage(reply, 200, showRequest(state, check.request, parameters));
  });

  server.post(path, async (request, reply) => {
    const form = bodyParameters(request.body);
    const check = checkAuthorizeRequest(form, state.app);
    if (check.outcome === 'unknown-client') return sendNotFound(reply);
    if (check.outcome === 'refused') return reply.redirect(check.location);
    if (form.get('decision') !== 'authorize') return reply.redirect(cancelled(check.request));
    const person = state.people.byLogin(form.get('login') ?? '');
    if (!person) return sendPage(reply, 422, messagePage('Nobody chosen', 'Go back and pick a person.'));
    return reply.redirect(approved(state, check.request, person.id));
  });
}

function showRequest(state: State, request: AuthorizeRequest, parameters: URLSearchParams): string {
  const people = state.people.all();
  const suggested = state.people.byLogin(parameters.get('login') ?? '') ?? people[0];
  const mustPick = parameters.get('prompt') === 'select_account';
  return authorizePage({
    appName: state.app.name,
    redirectUri: request.redirectUri,
    scopes: state.app.expiringTokens ? [] : request.scopes,
    people,
    selected: mustPick ? undefined : suggested?.login,
    fields: [...parameters].filter(([name]) => carriedOver.includes(name)),
  });
}

function cancelled({ redirectUri, state }: AuthorizeRequest): string {
  return callbackWith(redirectUri, { ...oauthError('access_denied'), state });
}

function approved(state: State, request: AuthorizeRequest, personId: number): string {
  const { clientId } = state.app;
  const { redirectUri, challenge } = request;
  // GitHub: without a scope in the request, the token gets what the person gave this application before.
  const scopes = request.scopes.length > 0 ? request.scopes : state.tokens.grantedScopes(personId, clientId);
  const code = state.codes.issue({ personId, clientId, redirectUri, scopes, challenge });
  return callbackWith(redirectUri, { code, state: request.state });
}

function sendNotFound(reply: FastifyReply): FastifyReply {
  return sendPage(reply, 404, messagePage('Not found', 'No application is registered with this client_id.'));
}

function sendPage(reply: FastifyReply, status: number, page: string): FastifyReply {
  return reply
    .code(status)
    .headers({ 'content-security-policy': pagePolicy, 'cache-control': 'no-store' })
    .type('text/html; charset=utf-8')
    .send(page);
}
