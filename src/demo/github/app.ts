/** The one OAuth client that is registered at the stand-in. */
export interface OAuthApp {
  /** Shown on the authorize page. */
  name: string;
  clientId: string;
  clientSecret: string;
  /** Registered callback URLs: the same scheme, host and port, and a path that is equal or below, are accepted. The first is the default. */
  redirectUris: string[];
  /** True: tokens of a GitHub App, which live 8 hours, come with a refresh token and have no scopes. */
  expiringTokens: boolean;
}

/** What was given, completed with a client that fits a gateway on its default port. */
export function completeApp(given: Partial<OAuthApp> = {}): OAuthApp {
  return {
    name: 'Better Hub',
    clientId: 'Ov23liStandInGitHub0',
    clientSecret: 'stand-in-github-client-secret-for-demos1',
    redirectUris: ['http://127.0.0.1:8080/api/auth/callback/github'],
    expiringTokens: false,
    ...given,
  };
}
