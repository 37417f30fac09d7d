// Better Auth's provider "github", for github.com, GitHub Enterprise Server or a stand-in.
import { genericOAuth } from 'better-auth/plugins';
import { GatewayError } from '../errors.ts';
import type { GitHubClient, GitHubOptions, Grant } from './github.ts';
import type { RecordSignIn } from './people.ts';

/** More can be asked for on request. */
export const DEFAULT_SCOPES = ['read:user', 'user:email', 'public_repo'];

export interface GitHubProviderOptions {
  readonly github: GitHubOptions & { readonly client: NonNullable<GitHubOptions['client']> };
  readonly client: GitHubClient;
  readonly recordSignIn: RecordSignIn;
  /** Asked for at every sign-in. */
  readonly scopes: readonly string[];
}

/** Carries the outcome of the code exchange between Better Auth's two calls. */
interface ExchangeResult {
  grant?: Grant;
  failure?: unknown;
}

export function githubProvider({ github, client, recordSignIn, scopes }: GitHubProviderOptions) {
  return genericOAuth({
    config: [
      {
        providerId: 'github',
        name: 'GitHub',
        clientId: github.client.id,
        clientSecret: github.client.secret,
        authorizationUrl: `${github.url}/login/oauth/authorize`,
        pkce: true,
        scopes: [...scopes],
        // Better Auth reports anything thrown here as invalid_code, an outage of GitHub included. What is thrown
        // from getUserInfo passes, so the failure travels there.
        getToken: async ({ code, codeVerifier, redirectURI }) => {
          const result = await exchange(client, { code, codeVerifier, redirectUri: redirectURI });
          return {
            accessToken: result.grant?.accessToken,
            scopes: [...(result.grant?.scopes ?? [])],
            raw: { ...result },
          };
        },
        getUserInfo: async ({ raw }) => {
          const { grant, failure } = (raw ?? {}) as ExchangeResult;
          if (!grant) throw failure ?? new GatewayError('bad-request');
          const person = await client.readPerson(grant.accessToken);
          // The person, account and tokens are written here, at once; Better Auth finds them and adds the session.
          await recordSignIn(person, grant);
          return {
            id: person.id,
            name: person.name,
            email: person.email,
            emailVerified: true,
            image: person.avatarUrl ?? undefined,
          };
        },
      },
    ],
  });
}

async function exchange(
  client: GitHubClient,
  code: Parameters<GitHubClient['exchangeCode']>[0],
): Promise<ExchangeResult> {
  try {
    return { grant: await client.exchangeCode(code) };
  } catch (failure) {
    return { failure };
  }
}
