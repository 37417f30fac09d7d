import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';

const LINK = '/api/auth/sign-in/social?provider=github&callbackURL=/api/home';

interface AccountRow {
  userId: string;
  scope: string;
}

describe.each(['postgres', 'sqlite'] as const)('signing in with GitHub, on %s', (stores) => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ stores });
  });
  afterEach(() => gateway.github.control.heal());
  afterAll(() => gateway.close());

  const accountsOf = (githubId: number) =>
    gateway.store.query<AccountRow>(
      `select "userId", scope from account where "accountId" = $1`,
      String(githubId),
    );
  const counts = async () => {
    const [row] = await gateway.store.query<Record<string, unknown>>(
      `select (select count(*) from "user") as users, (select count(*) from account) as accounts,
        (select count(*) from session) as sessions, (select count(*) from gateway_github_profile) as profiles`,
    );
    return Object.values(row ?? {}).map(Number);
  };
  /** Goes to GitHub and stops at the address GitHub sends the browser back to. */
  const approve = async (client: ReturnType<typeof createClient>, login: string, start = LINK) => {
    const started = await client.curl(start);
    return gateway.github.control.authorize({ url: started.headers.get('location') ?? '', login });
  };
  const isSignedIn = async (client: ReturnType<typeof createClient>) =>
    (await client.curl('/api/home')).status === 200;

  test('the POST of Better Auth answers with the address at GitHub, asking for default and further scopes', async () => {
    const client = createClient(gateway.url);
    const body = { provider: 'github', callbackURL: '/api/home', scopes: ['repo', 'workflow'] };
    const answer = await client.json<{ url: string; redirect: boolean }>(
      '/api/auth/sign-in/social',
      post(body),
    );
    expect(answer.redirect).toBe(true);
    const url = new URL(answer.url);
    expect(url.origin + url.pathname).toBe(`${gateway.github.url}/login/oauth/authorize`);
    expect(url.searchParams.get('scope')?.split(' ').sort()).toEqual(
      ['public_repo', 'read:user', 'repo', 'user:email', 'workflow'].sort(),
    );
  });

  test('the plain link redirects to GitHub with state and PKCE S256 and the registered callback', async () => {
    const response = await createClient(gateway.url).curl(`${LINK}&scopes=repo,workflow`);
    expect(response.status).toBe(302);
    const { searchParams } = new URL(response.headers.get('location') ?? '');
    expect(Object.fromEntries(searchParams)).toMatchObject({
      client_id: gateway.github.app.clientId,
      redirect_uri: `${gateway.url}/api/auth/callback/github`,
      code_challenge_method: 'S256',
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      state: expect.stringMatching(/.{16,}/),
    });
    expect(searchParams.get('scope')?.split(' ').sort()).toEqual(
      ['public_repo', 'read:user', 'repo', 'user:email', 'workflow'].sort(),
    );
  });

  test('without further wishes the default scopes are asked for', async () => {
    const response = await createClient(gateway.url).curl(LINK);
    const { searchParams } = new URL(response.headers.get('location') ?? '');
    expect(searchParams.get('scope')?.split(' ').sort()).toEqual(['public_repo', 'read:user', 'user:email']);
  });

  test('the way back is kept, with its query', async () => {
    const { login } = addPerson(gateway.github);
    const back = encodeURIComponent('/api/list?tab=1&q=a%20b');
    const { landedAt } = await signInWithGitHub(
      gateway,
      login,
      `/api/auth/sign-in/social?provider=github&callbackURL=${back}`,
    );
    expect(new URL(landedAt ?? '', gateway.url).href).toBe(`${gateway.url}/api/list?tab=1&q=a%20b`);
  });

  const foreign = [
    'https://evil.example/',
    '//evil.example/',
    '/\\evil.example/',
    'http://127.0.0.1.evil.example/',
    'javascript:alert(1)',
    `https://user@evil.example/`,
    '/%0d%0aSet-Cookie:x=1/../..//evil.example',
    '/\t/evil.example',
  ];
  test.each(foreign)('the link refuses to come back to %j', async (callbackURL) => {
    for (const name of ['callbackURL', 'errorCallbackURL', 'newUserCallbackURL']) {
      const query = new URLSearchParams({ provider: 'github', [name]: callbackURL });
      const response = await createClient(gateway.url).curl(`/api/auth/sign-in/social?${query}`);
      if (response.status === 302) {
        // Harmless after all: then it stays on our origin.
        expect(callbackURL, name).toMatch(/^\/%0d/);
      } else {
        expect([response.status, await response.json()], name).toEqual([
          400,
          expect.objectContaining({ code: 'bad-request', detail: expect.stringContaining(name) }),
        ]);
      }
    }
  });

  test.each(foreign.filter((url) => !url.startsWith('/%0d')))(
    'the POST refuses to come back to %j',
    async (callbackURL) => {
      for (const name of ['callbackURL', 'errorCallbackURL', 'newUserCallbackURL']) {
        const body = { provider: 'github', callbackURL: '/', [name]: callbackURL };
        const response = await createClient(gateway.url).fetch('/api/auth/sign-in/social', post(body));
        expect([400, 403], `${name}: ${await response.clone().text()}`).toContain(response.status);
      }
    },
  );

  test('granted scopes are kept on the account and follow every sign-in, also to fewer', async () => {
    const { id, login } = addPerson(gateway.github);
    const { client } = await signInWithGitHub(gateway, login, `${LINK}&scopes=repo,workflow`);
    expect(await accountsOf(id)).toMatchObject([{ scope: 'read:user,repo,user:email,workflow' }]);
    expect(await client.json('/api/user-scopes')).toEqual({
      scopes: ['read:user', 'repo', 'user:email', 'workflow'],
    });
    const { client: again } = await signInWithGitHub(gateway, login);
    expect(await accountsOf(id)).toMatchObject([{ scope: 'public_repo,read:user,user:email' }]);
    for (const each of [client, again])
      expect(await each.json('/api/user-scopes')).toEqual({
        scopes: ['public_repo', 'read:user', 'user:email'],
      });
  });

  test('a state that was used signs nobody in', async () => {
    const { login } = addPerson(gateway.github);
    const client = createClient(gateway.url);
    const callback = await approve(client, login);
    const cookiesBefore = new Map(client.cookies);
    await client.curl(callback);
    expect(await isSignedIn(client)).toBe(true);
    const before = await counts();
    const replay = createClient(gateway.url, cookiesBefore);
    const response = await replay.navigate(callback);
    expect(response.status).toBe(302);
    expect(response.headers.get('location')).toMatch(/\/_gateway\/sign-in\?.*error=/);
    expect(await isSignedIn(replay)).toBe(false);
    expect(await counts()).toEqual(before);
  });

  test('of two callbacks at once with one state, one at most signs in', async () => {
    const { login } = addPerson(gateway.github);
    const client = createClient(gateway.url);
    const callback = await approve(client, login);
    const browsers = Array.from({ length: 5 }, () => createClient(gateway.url, new Map(client.cookies)));
    await Promise.all(browsers.map((browser) => browser.curl(callback)));
    const signedIn = await Promise.all(browsers.map(isSignedIn));
    expect(signedIn.filter(Boolean).length).toBeLessThanOrEqual(1);
  });

  test('a code that was used signs nobody in, with a fresh state either', async () => {
    const { login } = addPerson(gateway.github);
    const first = createClient(gateway.url);
    const usedCallback = await approve(first, login);
    await first.curl(usedCallback);
    const second = createClient(gateway.url);
    const fresh = new URL(await approve(second, login));
    fresh.searchParams.set('code', new URL(usedCallback).searchParams.get('code') ?? '');
    const before = await counts();
    await second.curl(fresh.href);
    expect(await isSignedIn(second)).toBe(false);
    expect(await counts()).toEqual(before);
  });

  test("another browser's state signs nobody in", async () => {
    const { login } = addPerson(gateway.github);
    const attacker = createClient(gateway.url);
    const callback = await approve(attacker, login);
    const victim = createClient(gateway.url);
    await victim.curl(LINK);
    for (const browser of [createClient(gateway.url), victim]) {
      const response = await browser.navigate(callback);
      expect(response.headers.get('location')).toMatch(/\/_gateway\/sign-in\?.*error=/);
      expect(await isSignedIn(browser)).toBe(false);
    }
  });

  test('a code granted for another verifier signs nobody in', async () => {
    const { id, login } = addPerson(gateway.github);
    const client = createClient(gateway.url);
    const url = new URL((await client.curl(LINK)).headers.get('location') ?? '');
    url.searchParams.set('code_challenge', 'A'.repeat(43));
    const callback = await gateway.github.control.authorize({ url: url.href, login });
    const response = await client.navigate(callback);
    expect(response.headers.get('location')).toMatch(/\/_gateway\/sign-in\?.*error=/);
    expect(await isSignedIn(client)).toBe(false);
    expect(await accountsOf(id)).toEqual([]);
  });

  test('a state without its verifier signs nobody in', async () => {
    const { id, login } = addPerson(gateway.github);
    const client = createClient(gateway.url);
    const callback = await approve(client, login);
    const state = new URL(callback).searchParams.get('state') ?? '';
    const changed = await gateway.store.query(
      `update verification set value = replace(value, '"codeVerifier"', '"x"') where identifier = $1 or identifier like '%' || $1 returning value`,
      state,
    );
    expect(changed).toHaveLength(1);
    await client.curl(callback);
    expect(await isSignedIn(client)).toBe(false);
    expect(await accountsOf(id)).toEqual([]);
  });

  test('who cancels at GitHub comes to the sign-in page, which says so', async () => {
    const client = createClient(gateway.url);
    const started = await client.curl(LINK);
    const callback = await gateway.github.control.authorize({
      url: started.headers.get('location') ?? '',
      login: 'octocat',
      decision: 'cancel',
    });
    const response = await client.navigate(callback);
    expect(response.status).toBe(302);
    const page = await client.navigate(response.headers.get('location') ?? '');
    expect(page.status).toBe(200);
    expect(await page.text()).toContain('You cancelled the sign-in at GitHub.');
  });

  test.each(['newcomer', 'drifter'])(
    'without a verified primary e-mail (%s) nobody is made, and the page says what to do',
    async (login) => {
      const before = await counts();
      const client = createClient(gateway.url);
      const response = await client.navigate(await approve(client, login));
      expect(response.status).toBe(302);
      const page = await client.navigate(response.headers.get('location') ?? '');
      expect(await page.text()).toMatch(/verify your primary e-mail/i);
      expect(await counts()).toEqual(before);
    },
  );

  test('a verified e-mail of somebody else opens no door: refused, and the holder keeps everything', async () => {
    const holder = addPerson(gateway.github);
    const { client } = await signInWithGitHub(gateway, holder.login);
    const thief = addPerson(gateway.github, {
      emails: holder.emails.map((each) => ({ ...each, email: each.email.toUpperCase() })),
    });
    const before = await counts();
    const { client: other, response } = await signInWithGitHub(gateway, thief.login);
    expect([response.status, await response.json()]).toEqual([
      409,
      expect.objectContaining({ code: 'email-in-use' }),
    ]);
    expect(await isSignedIn(other)).toBe(false);
    expect(await counts()).toEqual(before);
    expect(await client.json('/api/home')).toMatchObject({
      headers: { 'x-forwarded-preferred-username': holder.login },
    });
  });

  test('who is renamed at GitHub keeps the account', async () => {
    const { id, login } = addPerson(gateway.github);
    await signInWithGitHub(gateway, login);
    const [before] = await accountsOf(id);
    gateway.github.control.rename(login, `${login}-renamed`);
    const { client } = await signInWithGitHub(gateway, `${login}-renamed`);
    expect(await accountsOf(id)).toEqual([before]);
    expect(await client.json('/api/home')).toMatchObject({
      headers: {
        'x-forwarded-user': before?.userId,
        'x-forwarded-preferred-username': `${login}-renamed`,
      },
    });
  });

  const faults = (['/login/oauth/access_token', '/user', '/user/emails'] as const).flatMap((path) =>
    (['server-error', 'bad-json', 'rate-limit-primary', 'rate-limit-secondary'] as const).map(
      (kind) => [path, kind] as const,
    ),
  );
  test.each(faults)(
    '%s with %s: an error that names GitHub, nobody half made, and the next try works',
    async (path, kind) => {
      const { id, login } = addPerson(gateway.github);
      const before = await counts();
      const script = createClient(gateway.url);
      const callback = await approve(script, login);
      gateway.github.control.fail(kind, { path });
      const response = await script.curl(callback);
      const limited = kind.startsWith('rate-limit');
      expect([response.status, await response.json()]).toEqual([
        limited ? 503 : 502,
        expect.objectContaining({ code: 'github-unavailable' }),
      ]);
      expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
      gateway.github.control.heal();
      const browser = createClient(gateway.url);
      const browserCallback = await approve(browser, login);
      gateway.github.control.fail(kind, { path });
      const redirect = await browser.navigate(browserCallback);
      gateway.github.control.heal();
      expect([redirect.status, redirect.headers.get('location')]).toEqual([
        302,
        expect.stringContaining('/_gateway/sign-in?error=github-unavailable'),
      ]);
      expect(await counts()).toEqual(before);
      expect(await isSignedIn(browser)).toBe(false);
      await signInWithGitHub(gateway, login);
      expect(await accountsOf(id)).toHaveLength(1);
    },
  );

  test('GitHub that never answers is given up after seconds; a slow one is waited for', async () => {
    const { id, login } = addPerson(gateway.github);
    const client = createClient(gateway.url);
    const callback = await approve(client, login);
    gateway.github.control.fail('hang', { path: '/user' });
    const startedAt = performance.now();
    const response = await client.curl(callback);
    expect(response.status).toBe(502);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    expect(await accountsOf(id)).toEqual([]);
    gateway.github.control.heal();
    const patient = createClient(gateway.url);
    const slow = await approve(patient, login);
    gateway.github.control.fail('slow', { path: '/login/oauth/access_token', ms: 700 });
    await patient.curl(slow);
    expect(await isSignedIn(patient)).toBe(true);
  });

  test('20 first sign-ins of one person at once make one user and one account', async () => {
    const { id, login, emails } = addPerson(gateway.github);
    const clients = Array.from({ length: 20 }, () => createClient(gateway.url));
    const callbacks = await Promise.all(clients.map((client) => approve(client, login)));
    const outcomes = await Promise.all(
      clients.map(async (client, at) => {
        const answer = await client.curl(callbacks[at] ?? '');
        return answer.status === 302 ? 'signed in' : (await answer.json()).code;
      }),
    );
    // GitHub keeps ten tokens of one kind: the eleventh may end the first before the gateway has used it.
    expect(outcomes.filter((each) => each !== 'github-token-invalid').length).toBeGreaterThanOrEqual(10);
    expect(new Set([...outcomes, 'github-token-invalid'])).toEqual(
      new Set(['signed in', 'github-token-invalid']),
    );
    expect(await accountsOf(id)).toHaveLength(1);
    expect(
      await gateway.store.query(`select id from "user" where email = $1`, emails[0]?.email ?? ''),
    ).toHaveLength(1);
    const signedIn = await Promise.all(clients.map(isSignedIn));
    expect(signedIn).toEqual(outcomes.map((outcome) => outcome === 'signed in'));
  });
});

test('GITHUB_URL and GITHUB_API_URL are what is asked, and nothing else', async () => {
  const asked: string[] = [];
  const api = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers.authorization?.slice(0, 11)}`);
    const emails = [{ email: 'elsewhere@example.com', primary: true, verified: true }];
    const body = request.url === '/deep/v3/user' ? { id: 77, login: 'elsewhere' } : emails;
    response.setHeader('x-oauth-scopes', 'repo').end(JSON.stringify(body));
  }).listen(0, '127.0.0.1');
  await once(api, 'listening');
  const { port } = api.address() as AddressInfo;
  const gateway = await startTestGateway({
    stores: 'sqlite',
    env: { GITHUB_API_URL: `http://127.0.0.1:${port}/deep/v3/` },
  });
  try {
    const { client } = await signInWithGitHub(gateway, 'octocat');
    expect(asked.sort()).toEqual(['/deep/v3/user Bearer gho_', '/deep/v3/user/emails Bearer gho_']);
    expect(gateway.github.control.requests.count('POST /login/oauth/access_token')).toBe(1);
    expect(gateway.github.control.requests.count('GET /user')).toBe(0);
    expect(await client.json('/api/user-scopes')).toEqual({ scopes: ['repo'] });
  } finally {
    await gateway.close();
    api.close();
  }
});
