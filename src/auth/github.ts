// What GitHub says: exchanges codes and reads people, and turns its refusals into the gateway's codes.
import * as z from 'zod';
import type { TokenKind } from '../database/tables.ts';
import { GatewayError } from '../errors.ts';
import { ask, discard, readJson, readPages } from './github-http.ts';

/** Tokens as granted by GitHub's token endpoint. Times are epoch milliseconds. */
export interface Grant {
  readonly accessToken: string;
  readonly refreshToken: string | null;
  readonly expiresAt: number | null;
  readonly refreshExpiresAt: number | null;
  /** As the endpoint lists them; null when it does not. */
  readonly scopes: readonly string[] | null;
}

/** Whose a token is, and what it tells of itself. */
export interface TokenOwner {
  /** Numeric id in decimal: the one thing about a person that never changes. */
  readonly id: string;
  readonly login: string;
  readonly tokenKind: TokenKind;
  /** Null when the token does not list them. In GitHub's order. */
  readonly scopes: readonly string[] | null;
  /** Client id of the app the token was issued to; null for personal access tokens. */
  readonly app: string | null;
  /** When a personal access token ends. */
  readonly tokenExpiresAt: number | null;
}

export interface GitHubPerson extends TokenOwner {
  readonly name: string;
  readonly avatarUrl: string | null;
  /** Primary and verified, lower case. */
  readonly email: string;
}

export interface GitHubClient {
  /** @throws {GatewayError} bad-request when GitHub refuses the code, github-unavailable */
  exchangeCode(code: { code: string; codeVerifier: string | undefined; redirectUri: string }): Promise<Grant>;
  /** @throws {GatewayError} reauth-required when GitHub does not take it, github-unavailable */
  refresh(refreshToken: string): Promise<Grant>;
  /** @throws {GatewayError} github-token-invalid, email-unverified, github-access-denied, github-unavailable */
  readPerson(token: string): Promise<GitHubPerson>;
  /** @throws {GatewayError} github-token-invalid, github-access-denied, github-unavailable */
  readOwner(token: string): Promise<TokenOwner>;
  /**
   * Organizations (`acme`) and teams (`acme/core`) the person belongs to, in lower case; of what the token may not see, none.
   *
   * @throws {GatewayError} github-token-invalid, github-unavailable
   */
  readMemberships(token: string, of: { organizations: boolean; teams: boolean }): Promise<string[]>;
  /**
   * Ends a token that GitHub gave to this gateway.
   *
   * @throws {GatewayError} github-unavailable, github-access-denied
   */
  deleteToken(token: string): Promise<void>;
}

export interface GitHubOptions {
  readonly url: string;
  readonly apiUrl: string;
  readonly client: { readonly id: string; readonly secret: string } | null;
}

export function createGitHubClient({ url, apiUrl, client }: GitHubOptions): GitHubClient {
  // GitHub answers what it refuses with 200 and an error in the body.
  const askForToken = async (parameters: Record<string, string>) => {
    const credentials = { client_id: client?.id ?? '', client_secret: client?.secret ?? '' };
    const body = new URLSearchParams({ ...credentials, ...parameters });
    const answer = ask(`${url}/login/oauth/access_token`, { method: 'POST', body });
    return readJson(await answer.catch(notOfThePerson), grantSchema);
  };
  return {
    async exchangeCode({ code, codeVerifier, redirectUri }) {
      const answer = await askForToken({
        ...{ code, redirect_uri: redirectUri },
        ...(codeVerifier && { code_verifier: codeVerifier }),
      });
      if (!('error' in answer)) return grantOf(answer);
      throw new GatewayError('bad-request', {
        detail: 'GitHub did not accept the sign-in code. Start signing in again.',
        cause: new Error(`GitHub answered the code exchange with ${answer.error}`),
      });
    },
    async refresh(refreshToken) {
      const answer = await askForToken({ grant_type: 'refresh_token', refresh_token: refreshToken });
      if (!('error' in answer)) return grantOf(answer);
      const cause = new Error(`GitHub answered the refresh of a token with ${answer.error}`);
      // Anything else is about the gateway's own credentials: people keep what they have.
      const isRefused = answer.error === 'bad_refresh_token' || answer.error === 'invalid_grant';
      throw new GatewayError(isRefused ? 'reauth-required' : 'github-unavailable', { cause });
    },
    async readPerson(token) {
      const authorization = { authorization: `Bearer ${token}` };
      const [user, emails] = await Promise.all([
        ask(`${apiUrl}/user`, { headers: authorization }),
        ask(`${apiUrl}/user/emails`, { headers: authorization }, [403, 404]),
      ]);
      const person = await readJson(user, userSchema);
      const email = emails.ok ? primaryEmail(await readJson(emails, emailsSchema)) : null;
      await discard(emails);
      if (email === null) throw new GatewayError('email-unverified');
      return personOf(person, email, ownerOf(person, token, user.headers));
    },
    async readOwner(token) {
      const answer = await ask(`${apiUrl}/user`, { headers: { authorization: `Bearer ${token}` } });
      return ownerOf(await readJson(answer, userSchema), token, answer.headers);
    },
    async readMemberships(token, { organizations, teams }) {
      const list = <T>(path: string, item: z.ZodType<T>) =>
        readPages(`${apiUrl}/user/${path}?per_page=100`, token, item);
      const [ofOrganizations, ofTeams] = await Promise.all([
        organizations ? list('orgs', organizationSchema) : null,
        teams ? list('teams', teamSchema) : null,
      ]);
      const names = [
        ...(ofOrganizations ?? []).map(({ login }) => login),
        ...(ofTeams ?? []).map(({ slug, organization }) => `${organization.login}/${slug}`),
      ];
      return names.map((name) => name.toLowerCase());
    },
    async deleteToken(token) {
      const { id = '', secret = '' } = client ?? {};
      const authorization = `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
      const answer = await ask(
        `${apiUrl}/applications/${encodeURIComponent(id)}/token`,
        {
          method: 'DELETE',
          headers: { authorization, 'content-type': 'application/json' },
          body: JSON.stringify({ access_token: token }),
        },
        // There is no such token, or no longer.
        [404, 422],
      ).catch(notOfThePerson);
      await discard(answer);
    },
  };
}

const grantedSchema = z.object({
  access_token: z.string().min(1),
  scope: z.string().optional(),
  expires_in: z.number().positive().optional(),
  refresh_token: z.string().optional(),
  refresh_token_expires_in: z.number().positive().optional(),
});
const grantSchema = z.union([z.object({ error: z.string() }), grantedSchema]);

const userSchema = z.object({
  id: z.int().positive(),
  login: z.string().min(1),
  name: z.string().nullish(),
  avatar_url: z.string().nullish(),
});

const organizationSchema = z.object({ login: z.string().min(1) });
const teamSchema = z.object({ slug: z.string().min(1), organization: organizationSchema });

const emailsSchema = z.array(z.object({ email: z.string(), primary: z.boolean(), verified: z.boolean() }));

function grantOf(answer: z.output<typeof grantedSchema>): Grant {
  const at = (seconds: number | undefined) => (seconds === undefined ? null : Date.now() + seconds * 1000);
  return {
    accessToken: answer.access_token,
    refreshToken: answer.refresh_token ?? null,
    expiresAt: at(answer.expires_in),
    refreshExpiresAt: at(answer.refresh_token_expires_in),
    scopes: answer.scope === undefined ? null : listOf(answer.scope),
  };
}

function personOf(person: z.output<typeof userSchema>, email: string, owner: TokenOwner): GitHubPerson {
  return {
    ...owner,
    // Postgres cannot hold a NUL: it must not lock anybody out.
    name: person.name?.replaceAll('\0', '') || person.login,
    avatarUrl: person.avatar_url ?? null,
    email,
  };
}

function ownerOf({ id, login }: z.output<typeof userSchema>, token: string, headers: Headers): TokenOwner {
  const kind = tokenKind(token);
  const scopes = headers.get('x-oauth-scopes');
  const listsScopes = kind === 'oauth' || kind === 'classic';
  return {
    id: String(id),
    login,
    tokenKind: kind,
    scopes: listsScopes && scopes !== null ? listOf(scopes) : null,
    app: headers.get('x-oauth-client-id'),
    tokenExpiresAt: expirationOf(headers.get('github-authentication-token-expiration')),
  };
}

/** Where the gateway shows its own credentials, a refusal says nothing of the person. */
function notOfThePerson(error: unknown): never {
  if (!(error instanceof GatewayError) || error.code === 'github-unavailable') throw error;
  throw new GatewayError('github-unavailable', { cause: error.cause });
}

/** Prefixes as documented by GitHub; tokens from before 2021 have none. */
function tokenKind(token: string): TokenKind {
  if (token.startsWith('github_pat_')) return 'fine-grained';
  if (token.startsWith('ghu_')) return 'app';
  return token.startsWith('gho_') ? 'oauth' : 'classic';
}

/** `2026-12-24 10:00:00 UTC`, also seen with a numeric offset. */
function expirationOf(header: string | null): number | null {
  const time = header === null ? Number.NaN : Date.parse(header.replace(' UTC', 'Z').replace(' ', 'T'));
  return Number.isNaN(time) ? null : time;
}

function primaryEmail(emails: z.output<typeof emailsSchema>): string | null {
  return emails.find((each) => each.primary && each.verified)?.email.toLowerCase() ?? null;
}

function listOf(scopes: string): string[] {
  return scopes.split(/[\s,]+/).filter((scope) => scope !== '');
}
