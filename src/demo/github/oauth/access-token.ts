import { createHash } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { State } from '../state.ts';
import { accessTokenSeconds, refreshTokenSeconds, type Token } from '../tokens.ts';
import { isApp, tokenEndpointCredentials } from './client-credentials.ts';
import type { Approval } from './codes.ts';
import { acceptForms, bodyParameters } from './form-body.ts';
import { type OAuthErrorCode, oauthError } from './oauth-errors.ts';

/** `/login/oauth/access_token`. Refusals are status 200 with an `error`, as at GitHub. */
export async function accessTokenRoutes(server: FastifyInstance, { state }: { state: State }): Promise<void> {
  acceptForms(server);

  server.post('/login/oauth/access_token', async (request, reply) => {
    const parameters = bodyParameters(request.body);
    const credentials = tokenEndpointCredentials(request.headers.authorization, parameters);
    const result = isApp(state.app, credentials)
      ? grant(state, parameters)
      : ('incorrect_client_credentials' as const);
    const answer = typeof result === 'string' ? oauthError(result) : describe(result);
    reply.header('cache-control', 'no-store');
    if (request.headers.accept?.includes('application/json')) return answer;
    return reply.type('application/x-www-form-urlencoded; charset=utf-8').send(asForm(answer));
  });
}

function grant(state: State, parameters: URLSearchParams): Token | OAuthErrorCode {
  switch (parameters.get('grant_type') ?? 'authorization_code') {
    case 'authorization_code':
      return exchangeCode(state, parameters);
    case 'refresh_token':
      return refresh(state, parameters.get('refresh_token') ?? '');
    default:
      return 'unsupported_grant_type';
  }
}

function exchangeCode(state: State, parameters: URLSearchParams): Token | OAuthErrorCode {
  const { clientId, expiringTokens } = state.app;
  const approval = state.codes.take(parameters.get('code') ?? '');
  if (approval?.clientId !== clientId) return 'bad_verification_code';
  const redirectUri = parameters.get('redirect_uri');
  if (redirectUri && redirectUri !== approval.redirectUri) return 'redirect_uri_mismatch';
  if (!isVerified(approval, parameters.get('code_verifier'))) return 'bad_verification_code';
  const { personId, scopes } = approval;
  return state.tokens.issueToApp({ personId, clientId, scopes, expiring: expiringTokens });
}

function refresh(state: State, refreshToken: string): Token | OAuthErrorCode {
  state.refreshes.asked += 1;
  const token = state.tokens.refresh(refreshToken, state.app.clientId);
  if (!token) state.refreshes.refused += 1;
  return token ?? 'bad_refresh_token';
}

function isVerified({ challenge }: Approval, verifier: string | null): boolean {
  if (challenge === null) return true;
  return (
    createHash('sha256')
      .update(verifier ?? '')
      .digest('base64url') === challenge
  );
}

function describe(token: Token) {
  const always = { access_token: token.text, scope: (token.scopes ?? []).join(','), token_type: 'bearer' };
  if (!token.refresh) return always;
  return {
    ...always,
    expires_in: accessTokenSeconds,
    refresh_token: token.refresh.text,
    refresh_token_expires_in: refreshTokenSeconds,
  };
}

function asForm(answer: object): string {
  const entries = Object.entries(answer).map(([name, value]): [string, string] => [name, String(value)]);
  return new URLSearchParams(entries).toString();
}
