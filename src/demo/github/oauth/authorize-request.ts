import type { OAuthApp } from '../app.ts';
import { normalizeScopes, parseScopes } from '../scopes.ts';
import { type OAuthErrorCode, oauthError } from './oauth-errors.ts';
import { callbackWith, isRegisteredRedirect } from './redirect-uri.ts';

/** An authorize request GitHub would show to a person. */
export interface AuthorizeRequest {
  redirectUri: string;
  state: string | undefined;
  scopes: string[];
  challenge: string | null;
}

/** Shown to a person, answered 404, or sent back to the registered callback with an error. */
export type AuthorizeCheck =
  | { outcome: 'valid'; request: AuthorizeRequest }
  | { outcome: 'unknown-client' }
  | { outcome: 'refused'; location: string };

/** Judges the parameters of `/login/oauth/authorize`. A wrong redirect_uri is never where anybody is sent. */
export function checkAuthorizeRequest(parameters: URLSearchParams, app: OAuthApp): AuthorizeCheck {
  const [registered] = app.redirectUris;
  if (parameters.get('client_id') !== app.clientId || !registered) return { outcome: 'unknown-client' };
  const redirectUri = parameters.get('redirect_uri') || registered;
  const state = parameters.get('state') ?? undefined;
  if (!isRegisteredRedirect(app.redirectUris, redirectUri)) {
    return refused(registered, 'redirect_uri_mismatch', state);
  }
  if (!isChallengeAcceptable(parameters)) return refused(redirectUri, 'invalid_request', state);
  const scopes = normalizeScopes(parseScopes(parameters.get('scope') ?? ''));
  const challenge = parameters.get('code_challenge');
  return { outcome: 'valid', request: { redirectUri, state, scopes, challenge } };
}

function refused(redirectUri: string, code: OAuthErrorCode, state: string | undefined): AuthorizeCheck {
  return { outcome: 'refused', location: callbackWith(redirectUri, { ...oauthError(code), state }) };
}

function isChallengeAcceptable(parameters: URLSearchParams): boolean {
  const challenge = parameters.get('code_challenge');
  if (challenge === null) return true;
  return parameters.get('code_challenge_method') === 'S256' && /^[\w-]{43}$/.test(challenge);
}
