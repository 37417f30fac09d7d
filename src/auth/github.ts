// What GitHub says: exchanges codes and reads people, and turns its refusals into the gateway's codes.
import * as z from 'zod';
import type { TokenKind } from '../database/tables.ts';
import { GatewayError } from '../errors.ts';

/** Tokens as granted by GitHub's token endpoint. Times are epoch milliseconds. */
export interface Grant {
  readonly accessToken: string;
  readonly refreshToken: string | null;
  readonly expiresAt: number | null;
  readonly refreshExpiresAt: number | null;
  /** As the endpoint lists them; null when it does not. */
  readonly scopes: readonly string[] | null;
}

export interface GitHubPerson {
  /** Numeric id in decimal: the one thing about a person that never changes. */
  readonly id: string;
  readonly login: string;
  readonly name: string;
  readonly avatarUrl: string | null;
  /** Primary and verified, lower case. */
  readonly email: string;
  readonly tokenKind: TokenKind;
  /** Null when the token does not list them. In GitHub's order. */
  readonly scopes: readonly string[] | null;
  /** Client id of the app the token was issued to; null for personal access tokens. */
  readonly app: string | null;
  /** When a personal access token ends. */
  readonly tokenExpiresAt: number | null;
}

export interface GitHubClient {
  /** @throws {GatewayError} bad-request when GitHub refuses the code, github-unavailable */
  exchangeCode(code: { code: string; codeVerifier: string | undefined; redirectUri: string }): Promise<Grant>;
  /** @throws {GatewayError} reauth-required when GitHub does not take it, github-unavailable */
  refresh(refreshToken: string): Promise<Grant>;
  /** @throws {GatewayError} github-token-invalid, email-unverified, github-access-denied, github-unavailable */
  readPerson(token: string): Promise<GitHubPerson>;
}

export interface GitHubOptions {
  readonly url: string;
  readonly apiUrl: string;
  readonly client: { readonly id: string; readonly secret: string } | null;
}

const TIMEOUT_MS = 5000;
const USER_AGENT = 'better-hub-gateway';

export function createGitHubClient({ url, apiUrl, client }: GitHubOptions): GitHubClient {
  // GitHub answers what it refuses with 200 and an error in the body.
  const askForToken = async (parameters: Record<string, string>) => {
    const credentials = { client_id: client?.id ?? '', client_secret: client?.secret ?? '' };
    const body = new URLSearchParams({ ...credentials, ...parameters });
    return readJson(await ask(`${url}/login/oauth/access_token`, { method: 'POST', body }), grantSchema);
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
      return personOf(person, email, token, user.headers);
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

function personOf(
  person: z.output<typeof userSchema>,
  email: string,
  token: string,
  headers: Headers,
): GitHubPerson {
  const kind = tokenKind(token);
  const scopes = headers.get('x-oauth-scopes');
  const listsScopes = kind === 'oauth' || kind === 'classic';
  return {
    id: String(person.id),
    login: person.login,
    // Postgres cannot hold a NUL: it must not lock anybody out.
    name: person.name?.replaceAll('\0', '') || person.login,
    avatarUrl: person.avatar_url ?? null,
    email,
    tokenKind: kind,
    scopes: listsScopes && scopes !== null ? listOf(scopes) : null,
    app: headers.get('x-oauth-client-id'),
    tokenExpiresAt: expirationOf(headers.get('github-authentication-token-expiration')),
  };
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

async function ask(url: string, init: RequestInit, accepted: readonly number[] = []): Promise<Response> {
  const headers = { accept: 'application/json', 'user-agent': USER_AGENT, ...init.headers };
  // A redirect would carry the token to an address nobody configured.
  const request = { ...init, headers, redirect: 'manual' as const, signal: AbortSignal.timeout(TIMEOUT_MS) };
  const answer = await fetch(url, request).catch((error: unknown) => {
    throw new GatewayError('github-unavailable', { cause: error });
  });
  if (answer.ok) return answer;
  const refusal = refusalOf(answer);
  if (refusal.code !== 'github-unavailable' && accepted.includes(answer.status)) return answer;
  await discard(answer);
  throw refusal;
}

function refusalOf(answer: Response): GatewayError {
  const cause = new Error(`GitHub answered ${answer.status}`);
  if (answer.status === 401)
    return new GatewayError('github-token-invalid', { detail: 'Invalid GitHub token', cause });
  const limited = rateLimitSeconds(answer);
  if (limited !== null)
    return new GatewayError('github-unavailable', {
      status: 503,
      detail: 'GitHub limits the number of requests at the moment. Try again later.',
      retryAfterSeconds: limited,
      cause,
    });
  if (answer.status === 403 || answer.status === 404)
    return new GatewayError('github-access-denied', { cause });
  return new GatewayError('github-unavailable', { cause });
}

const LONGEST_WAIT_SECONDS = 3600;

/** Seconds until GitHub's primary or secondary limit ends; null when the answer is no limit. */
function rateLimitSeconds({ status, headers }: Response): number | null {
  const after = headers.get('retry-after');
  const spent = headers.get('x-ratelimit-remaining') === '0';
  if (status !== 429 && !(status === 403 && (after !== null || spent))) return null;
  const reset = Number(headers.get('x-ratelimit-reset') ?? Number.NaN) - Date.now() / 1000;
  const seconds = after !== null && /^\d+$/.test(after) ? Number(after) : Number.isNaN(reset) ? 60 : reset;
  return Math.min(LONGEST_WAIT_SECONDS, Math.max(1, seconds));
}

async function readJson<T>(answer: Response, schema: z.ZodType<T>): Promise<T> {
  try {
    return schema.parse(await answer.json());
  } catch (error) {
    throw new GatewayError('github-unavailable', {
      detail: 'GitHub sent an answer that cannot be read. Try again later.',
      cause: new Error('GitHub sent an unexpected body', {
        cause: error instanceof z.ZodError ? undefined : error,
      }),
    });
  }
}

/** An unread body would hold its connection. */
async function discard(answer: Response): Promise<void> {
  if (!answer.bodyUsed) await answer.body?.cancel().catch(() => {});
}
