// GitHub tokens that end are replaced once, whoever asks; a person is asked to sign in again only when GitHub says no.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTokenCipher } from '../../src/auth/token-cipher.ts';
import { type Client, createClient, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { DEFAULT_CONFIG, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { scale } from '../support/scale.ts';

const ROUNDS = scale({ quick: 3, full: 50 });
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

describe.each(['postgres+redis', 'postgres', 'sqlite'] as const)('on %s', (stores) => {
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

  /** Moves the end of the stored token, as if time had passed, and waits until every gateway has heard. */
  async function endsIn({ client, there, userId }: AppUser, ms: number): Promise<void> {
    const end = new Date(Date.now() + ms).toISOString();
    await one.store.query(`update account set "accessTokenExpiresAt" = $1 where "userId" = $2`, end, userId);
    // A token that has ended is not sent: no request is needed to see that it was heard.
    if (ms <= 0) return;
    for (const each of [client, there]) await expect.poll(() => endSeen(each), { timeout: 5000 }).toBe(end);
  }

  async function expired(): Promise<AppUser> {
    const person = await signedIn();
    one.github.control.expire(person.token);
    await endsIn(person, -1000);
    // The change travels; whoever was not told yet would send what has ended.
    await new Promise((resolve) => setTimeout(resolve, 150));
    return person;
  }

  const isAlive = async (token: string) =>
    (await fetch(`${one.github.apiUrl}/user`, { headers: { authorization: `Bearer ${token}` } })).ok;

  test('many requests on a token that has ended, at both gateways: one refresh, and all get its token', async (context) => {
    let requests = 0;
    let failed = 0;
    let lost = 0;
    let refreshes = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const person = await expired();
      const before = one.github.control.refreshes;
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_each, at) => (at % 2 ? person.client : person.there).fetch('/api/x')),
      );
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
    expect([failed, refreshes, lost]).toEqual([0, 1, 0]);
  });

  test('a token that soon ends is given once more, and replaced meanwhile', async () => {
    const person = await signedIn();
    await endsIn(person, 6 * MINUTE);
    expect(await tokenSeen(person.client)).toBe(person.token);
    const before = one.github.control.refreshes;
    one.github.control.fail('slow', { path: TOKEN_PATH, ms: 300, times: 1 });
    const end = new Date(Date.now() + 4 * MINUTE).toISOString();
    await one.store.query(
      `update account set "accessTokenExpiresAt" = $1 where "userId" = $2`,
      end,
      person.userId,
    );
    // Nobody waits for GitHub.
    await expect
      .poll(() => one.github.control.refreshes > before || tokenSeen(person.client), { timeout: 5000 })
      .toBe(true);
    await expect.poll(() => tokenSeen(person.client), { timeout: 5000 }).not.toBe(person.token);
    await expect.poll(() => tokenSeen(person.there), { timeout: 5000 }).not.toBe(person.token);
    expect(one.github.control.refreshes).toBe(before + 1);
    expect(await isAlive(await tokenSeen(person.there))).toBe(true);
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
    one.github.control.fail('slow', { path: TOKEN_PATH, ms: 500, times: 1 });
    const before = one.github.control.requests.total;
    const asked = tokenSeen(person.client);
    await expect.poll(() => one.github.control.requests.total).toBeGreaterThan(before);
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

async function endSeen(client: Client): Promise<string> {
  const { headers } = await client.json<{ headers: Record<string, string> }>('/api/x');
  return headers['x-gateway-token-expires'] ?? '';
}
