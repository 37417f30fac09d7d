// GitHub tokens that end are replaced once, whoever asks; a person is asked to sign in again only when GitHub says no.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTokenCipher } from '../../src/auth/token-cipher.ts';
import {
  type Client,
  createClient,
  sendToken,
  signInWithGitHub,
  signInWithToken,
} from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { DEFAULT_CONFIG, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { scale } from '../support/scale.ts';

const ROUNDS = scale({ quick: 2, full: 50 });
const MINUTE = 60_000;
const TOKEN_PATH = '/login/oauth/access_token';
const CONFIG = DEFAULT_CONFIG.replace('forwarded }', 'forwarded, githubTokenExpires: forwarded }');

interface AppUser {
  readonly client: Client;
  /** At the second gateway. */
  readonly there: Client;
  readonly userId: string;
  /** As upstreams get it. */
  readonly token: string;
}

const STORES = scale({
  quick: ['postgres+redis', 'sqlite'] as const,
  full: ['postgres+redis', 'postgres', 'sqlite'] as const,
});

describe.each(STORES)('on %s', (stores) => {
  let one: TestGateway;
  let two: TestGateway;
  beforeAll(async () => {
    one = await startTestGateway({ stores, config: CONFIG });
    // The embedded file is one process's.
    two = stores === 'sqlite' ? one : await one.another({ BETTER_AUTH_URL: one.url });
    one.github.app.expiringTokens = true;
  });
  afterAll(async () => {
    if (two !== one) await two?.close();
    await one?.close();
  });
  beforeEach(() => one.github.control.heal());

  async function signedIn(): Promise<AppUser> {
    const { client } = await signInWithGitHub(one, addPerson(one.github).login);
    const { user } = await client.json<{ user: { id: string } }>('/api/auth/get-session');
    const token = await tokenSeen(client);
    return { client, there: createClient(two.url, client.cookies), userId: user.id, token };
  }

  /** Moves the end of the stored token, as if time had passed. */
  async function endsIn({ userId }: AppUser, ms: number): Promise<void> {
    const end = new Date(Date.now() + ms).toISOString();
    await one.store.query(`update account set "accessTokenExpiresAt" = $1 where "userId" = $2`, end, userId);
    // The change travels. A request that asked for it could be what replaces the token.
    await new Promise((resolve) => setTimeout(resolve, 200));
  }

  async function expired(): Promise<AppUser> {
    const person = await signedIn();
    one.github.control.expire(person.token);
    await endsIn(person, -1000);
    return person;
  }

  const isAlive = async (token: string) =>
    (await fetch(`${one.github.apiUrl}/user`, { headers: { authorization: `Bearer ${token}` } })).ok;

  test('many requests on a token that has ended, at both gateways: one refresh, and all get its token', async (context) => {
    let requests = 0;
    let failed = 0;
    let lost = 0;
    let refreshes = 0;
    const refusals = new Set<string>();
    for (let round = 0; round < ROUNDS; round++) {
      const person = await expired();
      const before = one.github.control.refreshes;
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_each, at) => (at % 2 ? person.client : person.there).fetch('/api/x')),
      );
      for (const each of answers) if (each.status !== 200) refusals.add(await each.clone().text());
      const tokens = await Promise.all(answers.map(tokenOf));
      requests += answers.length;
      failed += answers.filter(({ status }) => status !== 200).length;
      refreshes = Math.max(refreshes, one.github.control.refreshes - before);
      const [token = ''] = tokens;
      lost += new Set(tokens).size === 1 && token !== person.token && (await isAlive(token)) ? 0 : 1;
      // And it is kept.
      expect(await tokenSeen(person.client)).toBe(token);
    }
    report(context, { rounds: ROUNDS, requests, failed, refreshesOfATokenAtMost: refreshes, lost });
    expect([failed, refreshes, lost], [...refusals].join('\n')).toEqual([0, 1, 0]);
  });

  test('a token that has more than a quarter of an hour left is left alone', async () => {
    const person = await signedIn();
    await endsIn(person, 16 * MINUTE);
    const before = one.github.control.refreshes;
    for (const each of [person.client, person.there]) expect(await tokenSeen(each)).toBe(person.token);
    expect(one.github.control.refreshes).toBe(before);
  });

  test('a token that soon ends is given once more, and replaced meanwhile', async () => {
    const person = await signedIn();
    one.github.control.fail('slow', { path: TOKEN_PATH, ms: 500, times: 1 });
    await endsIn(person, 10 * MINUTE);
    const before = one.github.control.refreshes;
    // Nobody waits for GitHub.
    expect(await tokenSeen(person.client)).toBe(person.token);
    for (const each of [person.client, person.there])
      await expect.poll(() => tokenSeen(each), { timeout: 5000 }).not.toBe(person.token);
    expect(one.github.control.refreshes).toBe(before + 1);
    expect(await isAlive(await tokenSeen(person.there))).toBe(true);
  });

  test('in its last five minutes a token is replaced before it is given', async () => {
    const person = await signedIn();
    await endsIn(person, 4 * MINUTE);
    const before = one.github.control.refreshes;
    const token = await tokenSeen(person.client);
    expect(token).not.toBe(person.token);
    expect(await isAlive(token)).toBe(true);
    expect(one.github.control.refreshes).toBe(before + 1);
  });

  test('GitHub takes its time: a token that lives is given meanwhile', async () => {
    const person = await signedIn();
    await endsIn(person, 4 * MINUTE);
    one.github.control.fail('slow', { path: TOKEN_PATH, ms: 4000, times: 1 });
    const startedAt = performance.now();
    expect(await tokenSeen(person.client)).toBe(person.token);
    expect(performance.now() - startedAt).toBeLessThan(3900);
    // What is under way would count among the refreshes of another test.
    await expect.poll(() => tokenSeen(person.client)).not.toBe(person.token);
  });

  test('a personal access token that ends is given to its end, and GitHub is asked for no other', async () => {
    const { login } = addPerson(one.github);
    const client = await signInWithToken({ url: one.url, github: one.github }, login);
    const { user } = await client.json<{ user: { id: string } }>('/api/auth/get-session');
    const person = { client, there: client, userId: user.id, token: await tokenSeen(client) };
    const before = one.github.control.refreshes;
    await endsIn(person, 4 * MINUTE);
    for (let time = 0; time < 5; time++) expect(await tokenSeen(client)).toBe(person.token);
    await endsIn(person, -1000);
    expect(await client.json('/api/x')).toMatchObject({ code: 'reauth-required' });
    expect(one.github.control.refreshes).toBe(before);
  });

  test('what a crash between GitHub’s answer and the write leaves: the dead token goes nowhere, the person signs in again', async () => {
    const person = await signedIn();
    // GitHub has ended both tokens, and what it gave instead is lost.
    one.github.control.revoke(person.token);
    await endsIn(person, 10 * MINUTE);
    const before = one.github.control.refusedRefreshes;
    await expect.poll(async () => (await person.client.fetch('/api/x')).status, { timeout: 5000 }).toBe(401);
    for (const each of [person.client, person.there])
      expect(await each.json('/api/x')).toMatchObject({
        code: 'reauth-required',
        reauthUrl: expect.any(String),
      });
    expect(one.github.control.refusedRefreshes).toBe(before + 1);
    const [{ login } = { login: '' }] = await one.store.query<{ login: string }>(
      `select login from gateway_github_profile where "userId" = $1`,
      person.userId,
    );
    const again = await signInWithGitHub(one, login);
    expect(await isAlive(await tokenSeen(again.client))).toBe(true);
  });

  test('a new token is kept although rotate-keys has written the old one anew meanwhile', async () => {
    const person = await expired();
    one.github.control.fail('slow', { path: TOKEN_PATH, ms: 600, times: 1 });
    const before = one.github.control.requests.total;
    const asked = tokenSeen(person.client);
    await expect.poll(() => one.github.control.requests.total).toBeGreaterThan(before);
    const { tokenKeys, secrets } = one.config;
    const cipher = createTokenCipher({ tokenKeys, secrets, format: 'aes-256-gcm' });
    const [row] = await one.store.query<{ accessToken: string; refreshToken: string }>(
      `select "accessToken", "refreshToken" from account where "userId" = $1`,
      person.userId,
    );
    const anew = async (stored = '') => cipher.encrypt(await cipher.decrypt(stored));
    await one.store.query(
      `update account set "accessToken" = $1, "refreshToken" = $2 where "userId" = $3`,
      await anew(row?.accessToken),
      await anew(row?.refreshToken),
      person.userId,
    );
    const token = await asked;
    for (const each of [person.there, person.client]) expect(await tokenSeen(each)).toBe(token);
    expect(await isAlive(token)).toBe(true);
  });

  test('an upstream that asks is told when a token ends, of any kind, and nothing of one that does not', async () => {
    const app = await signedIn();
    const [row] = await one.store.query<{ end: string | Date }>(
      `select "accessTokenExpiresAt" as "end" from account where "userId" = $1`,
      app.userId,
    );
    expect(await endSeen(app.client)).toBe(new Date(row?.end ?? 0).toISOString());
    const { login } = addPerson(one.github);
    const end = new Date(Date.now() + 86_400_000);
    end.setMilliseconds(0);
    const pat = (expiresAt?: Date) =>
      one.github.control.issueToken({ login, kind: 'classic', scopes: ['user:email'], expiresAt });
    const client = createClient(one.url);
    await sendToken(client, pat(end));
    expect(await endSeen(client)).toBe(end.toISOString());
    expect(await endSeen(createClient(two.url, client.cookies))).toBe(end.toISOString());
    await sendToken(client, pat());
    expect(await endSeen(client)).toBeUndefined();
  });

  test('each refresh is counted by what came of it', async () => {
    const count = async (result: string) => {
      const metrics = await (await fetch(`${one.adminUrl}/metrics`)).text();
      const [, value] =
        new RegExp(`gateway_token_refreshes_total\\{result="${result}"\\} (\\d+)`).exec(metrics) ?? [];
      return Number(value);
    };
    const before = await count('refreshed');
    const person = await expired();
    await tokenSeen(person.client);
    expect(await count('refreshed')).toBe(before + 1);
    const refused = await count('refused');
    const other = await expired();
    one.github.control.revoke(other.token);
    await other.client.fetch('/api/x');
    expect(await count('refused')).toBe(refused + 1);
  });

  test('GitHub refuses the refresh: the person is asked to sign in again, and GitHub is asked once', async () => {
    const person = await expired();
    one.github.control.revoke(person.token);
    const before = one.github.control.refreshes;
    for (let time = 0; time < 3; time++)
      for (const each of [person.client, person.there]) {
        const response = await each.fetch('/api/x');
        expect([response.status, await response.json()]).toEqual([
          401,
          expect.objectContaining({
            code: 'reauth-required',
            reauthUrl: expect.stringContaining('/api/auth/sign-in/social'),
          }),
        ]);
      }
    expect(one.github.control.refreshes).toBe(before + 1);
    expect((await person.client.fetch('/plain/x')).status).toBe(200);
  });

  test('GitHub refuses the refresh because somebody else was faster: their token is taken', async () => {
    const person = await expired();
    const other = one.github.control.issueToken({ login: 'octocat', kind: 'classic', scopes: ['repo'] });
    one.github.control.revoke(person.token);
    const before = one.github.control.refusedRefreshes;
    const asked = tokenSeen(person.client);
    // They are still about to write when GitHub says no.
    await expect.poll(() => one.github.control.refusedRefreshes, { interval: 5 }).toBe(before + 1);
    const { tokenKeys, secrets } = one.config;
    const cipher = createTokenCipher({ tokenKeys, secrets, format: 'better-auth' });
    await one.store.query(
      `update account set "accessToken" = $1, "accessTokenExpiresAt" = $2 where "userId" = $3`,
      await cipher.encrypt(other),
      new Date(Date.now() + 60 * MINUTE).toISOString(),
      person.userId,
    );
    expect(await asked).toBe(other);
  });

  test('GitHub is away: a token that lives is given, one that has ended is 503 until GitHub is back', async () => {
    const [living, ended] = [await signedIn(), await expired()];
    one.github.control.fail('server-error', { path: TOKEN_PATH });
    await endsIn(living, 4 * MINUTE);
    for (let time = 0; time < 5; time++) expect(await tokenSeen(living.client)).toBe(living.token);
    const response = await ended.client.fetch('/api/x');
    expect([response.status, (await response.json()).code]).toEqual([502, 'github-unavailable']);
    expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
    one.github.control.heal();
    await expect
      .poll(async () => (await ended.client.fetch('/api/x')).status, { timeout: 10_000, interval: 200 })
      .toBe(200);
  });

  test('a token that is not to be refreshed ends, and the person is asked to sign in again', async () => {
    const person = await signedIn();
    await one.store.query(`update account set "refreshToken" = null where "userId" = $1`, person.userId);
    await endsIn(person, -1000);
    await expect.poll(async () => (await person.client.fetch('/api/x')).status, { timeout: 5000 }).toBe(401);
  });
});

async function tokenOf(response: Response): Promise<string> {
  return (await response.json()).headers?.['x-forwarded-access-token'];
}

async function tokenSeen(client: Client): Promise<string> {
  return tokenOf(await client.fetch('/api/x'));
}

async function endSeen(client: Client): Promise<string | undefined> {
  const { headers } = await client.json<{ headers: Record<string, string> }>('/api/x');
  return headers['x-gateway-token-expires'];
}
