const docs = 'https://docs.github.com/apps/managing-oauth-apps';
const authorizePage = `${docs}/troubleshooting-authorization-request-errors`;
const tokenPage = `${docs}/troubleshooting-oauth-app-access-token-request-errors`;

const table = {
  access_denied: ['The user has denied your application access.', `${authorizePage}/#access-denied`],
  invalid_request: [
    'PKCE needs a code_challenge of 43 characters and the code_challenge_method S256.',
    authorizePage,
  ],
  redirect_uri_mismatch: [
    'The redirect_uri MUST match the registered callback URL for this application.',
    `${authorizePage}/#redirect-uri-mismatch`,
  ],
  incorrect_client_credentials: [
    'The client_id and/or client_secret passed are incorrect.',
    `${tokenPage}/#incorrect-client-credentials`,
  ],
  bad_verification_code: ['The code passed is incorrect or expired.', `${tokenPage}/#bad-verification-code`],
  bad_refresh_token: ['The refresh token passed is incorrect or expired.', tokenPage],
  unsupported_grant_type: ['The grant_type passed is not supported.', tokenPage],
} as const satisfies Record<string, readonly [description: string, uri: string]>;

export type OAuthErrorCode = keyof typeof table;

/** The three fields GitHub answers an OAuth error with, in a body or on the way back to the application. */
export function oauthError(error: OAuthErrorCode) {
  const [error_description, error_uri] = table[error];
  return { error, error_description, error_uri };
}
