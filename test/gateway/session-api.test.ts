import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, cookieHeader, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { send } from '../support/send.ts';

const SESSION = 'better-auth.session_token';
const JWE = 'better-auth.session_data';

interface SessionAnswer {
  session: { id: string; token: string; userId: string; expiresAt: string };
  user: { id: string; email: string; role: string };
}

describe.each(['postgres+redis', 'sqlite'] as const)('sessions over HTTP, on %s', (stores) => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ stores });
  });
  afterAll(() => gateway.close());

  const signedIn = async (login = addPerson(gateway.github).login) =>
    (await signInWithGitHub(gateway, login)).client;
  const session = (client: Client) => client.json<SessionAnswer | null>('/api/auth/get-session');
  const replayOf = (client: Client) => createClient(gateway.url, new Map(client.cookies));
  /** The session cookie is dead on every path, with the JWE cookie beside it and without. */
  const expectDead = async (replay: Client) => {
    expect([...replay.cookies.keys()]).toEqual(expect.arrayContaining([SESSION, JWE]));
    for (const cookies of [replay.cookies, new Map([[SESSION, replay.cookies.get(SESSION) ?? '']])]) {
      const client = createClient(gateway.url, new Map(cookies));
      expect(await session(client)).toBeNull();
      expect((await createClient(gateway.url, new Map(cookies)).fetch('/api/x')).status).toBe(401);
    }
  };

  test('get-session tells session and person, and null without a session', async () => {
    const person = addPerson(gateway.github);
    const client = await signedIn(person.login);
    const answer = await session(client);
    expect(answer).toMatchObject({
      session: { userId: answer?.user.id, expiresAt: expect.any(String) },
      user: { email: person.emails[0]?.email, role: 'user', name: person.name },
    });
    expect(await session(createClient(gateway.url))).toBeNull();
  });

  test('the session row holds who, from where, with what, and ends in seven days', async () => {
    const { login } = addPerson(gateway.github);
    const client = createClient(gateway.url);
    const started = await client.curl('/api/auth/sign-in/social?provider=github&callbackURL=/');
    const url = started.headers.get('location') ?? '';
    const callback = await gateway.github.control.authorize({ url, login });
    await client.curl(callback, {
      from: '127.4.5.6',
      headers: { 'user-agent': 'Test/1.0 (by hand)', 'x-forwarded-for': '203.0.113.9' },
    });
    const answer = await session(client);
    const rows = await gateway.store.query<Record<string, string | Date>>(
      `select * from session where "userId" = $1`,
      answer?.user.id ?? '',
    );
    expect(rows).toEqual([
      expect.objectContaining({
        ipAddress: '127.4.5.6',
        userAgent: 'Test/1.0 (by hand)',
        id: answer?.session.id,
      }),
    ]);
    const ends = new Date(rows[0]?.expiresAt ?? 0).getTime() - Date.now();
    expect(Math.abs(ends - 7 * 86_400_000)).toBeLessThan(60_000);
    const cookieToken = decodeURIComponent(client.cookies.get(SESSION) ?? '').split('.')[0];
    expect(rows[0]?.token).toBe(cookieToken);
  });

  test('sign-out needs no Origin and no content type, ends the session and clears every cookie', async () => {
    const client = await signedIn();
    const replay = replayOf(client);
    const sent = new Map([
      ...client.cookies,
      [`${JWE}.0`, 'a'],
      [`${JWE}.1`, 'b'],
      ['better-auth.dont_remember', 'x'],
      ['better-auth.account_data', 'y'],
      ['better-auth.account_data.0', 'y'],
      ['theirs', 'kept'],
    ]);
    const response = await send(`${gateway.url}/api/auth/sign-out`, {
      method: 'POST',
      headers: { cookie: cookieHeader(sent), 'content-length': '0' },
    });
    expect([response.status, await response.json()]).toEqual([200, { success: true }]);
    const lines = response.headers.getSetCookie();
    for (const line of lines) expect(line).toMatch(/Max-Age=0/i);
    expect(new Set(lines.map((line) => line.split('=', 1)[0]))).toEqual(
      new Set([...sent.keys()].filter((name) => name !== 'theirs')),
    );
    await expectDead(replay);
  });

  test('sign-out as JSON or without a content type, and without a session, is answered 200', async () => {
    for (const type of ['application/json', undefined]) {
      const client = await signedIn();
      const headers = { 'content-length': '0', ...(type ? { 'content-type': type } : {}) };
      const response = await client.curl('/api/auth/sign-out', { method: 'POST', headers });
      expect(response.status, `${type} ${await response.clone().text()}`).toBe(200);
    }
    expect((await createClient(gateway.url).fetch('/api/auth/sign-out', { method: 'POST' })).status).toBe(
      200,
    );
  });

  test('list-sessions shows the own sessions only; each way of revoking ends the ones it names', async () => {
    const { login } = addPerson(gateway.github);
    const clients = await Promise.all([1, 2, 3, 4].map(() => signedIn(login)));
    const [first, second, third, fourth] = clients as [Client, Client, Client, Client];
    const stranger = await signedIn();
    const replays = clients.map(replayOf) as [Client, Client, Client, Client];
    const sessions = await first.json<{ token: string; userId: string }[]>('/api/auth/list-sessions');
    const mine = await Promise.all(clients.map(session));
    expect(sessions.map((each) => each.token).sort()).toEqual(mine.map((each) => each?.session.token).sort());

    const token = mine[1]?.session.token;
    const foreign = await stranger.fetch('/api/auth/revoke-session', post({ token }));
    expect(await session(second), `a stranger revoked it (${foreign.status})`).not.toBeNull();
    for (const each of clients) expect((await each.fetch('/api/x')).status).toBe(200);
    expect((await first.fetch('/api/auth/revoke-session', post({ token }))).status).toBe(200);
    await expectDead(replays[1]);
    expect((await third.fetch('/api/x')).status).toBe(200);

    expect((await first.fetch('/api/auth/revoke-other-sessions', post())).status).toBe(200);
    await expectDead(replays[2]);
    await expectDead(replays[3]);
    expect((await first.fetch('/api/x')).status).toBe(200);
    expect((await fourth.fetch('/api/x')).status).toBe(401);

    expect((await first.fetch('/api/auth/revoke-sessions', post())).status).toBe(200);
    await expectDead(replays[0]);
    expect((await stranger.fetch('/api/x')).status).toBe(200);
  });

  test('a JWE cookie of somebody else changes nothing about who one is', async () => {
    const [a, b] = await Promise.all([signedIn(), signedIn()]);
    const mixed = createClient(gateway.url, new Map(a.cookies).set(JWE, b.cookies.get(JWE) ?? ''));
    expect((await session(mixed))?.user.id).toBe((await session(a))?.user.id);
    const alone = createClient(gateway.url, new Map([[JWE, b.cookies.get(JWE) ?? '']]));
    expect(await session(alone)).toBeNull();
    expect((await alone.fetch('/api/x')).status).toBe(401);
  });

  test('a session row that was deleted by hand is gone for get-session at once', async () => {
    const client = await signedIn();
    const replay = replayOf(client);
    const id = (await session(client))?.session.id ?? '';
    await gateway.store.query(`delete from session where id = $1`, id);
    expect(await session(replay)).toBeNull();
  });

  test('a person may change their name, but not what they may do', async () => {
    const client = await signedIn();
    expect((await client.fetch('/api/auth/update-user', post({ name: 'New Name' }))).status).toBe(200);
    for (const body of [{ role: 'admin' }, { banned: false, name: 'x' }, { email: 'x@example.com' }])
      await client.fetch('/api/auth/update-user', post(body));
    const { headers } = await client.json<{ headers: Record<string, string> }>('/api/x');
    expect(headers['x-forwarded-groups']).toBe('user');
    expect(headers['x-forwarded-email']).toMatch(/^person-/);
  });

  const unlisted = [
    ['GET', '/api/auth/get-access-token'],
    ['POST', '/api/auth/get-access-token'],
    ['POST', '/api/auth/refresh-token'],
    ['POST', '/api/auth/link-social'],
    ['POST', '/api/auth/unlink-account'],
    ['POST', '/api/auth/sign-up/email'],
    ['POST', '/api/auth/sign-in/email'],
    ['POST', '/api/auth/sign-in/oauth2'],
    ['GET', '/api/auth/oauth2/callback/github'],
    ['GET', '/api/auth/account-info'],
    ['POST', '/api/auth/request-password-reset'],
    ['GET', '/api/auth/subscription/list'],
  ] as const;
  test.each(unlisted)('%s %s is routed like any path, to the upstream', async (method, path) => {
    const client = await signedIn();
    const init = method === 'POST' ? post({ providerId: 'github' }) : {};
    expect(await client.json(path, init)).toMatchObject({ method, url: path, headers: expect.anything() });
    const anonymous = await createClient(gateway.url).fetch(path, init);
    expect([anonymous.status, await anonymous.json()]).toEqual([
      401,
      expect.objectContaining({ code: 'no-session-cookie' }),
    ]);
  });

  test.each([
    ['POST', '/api/auth/get-session', 'GET'],
    ['GET', '/api/auth/sign-out', 'POST'],
    ['GET', '/api/auth/pat-signin', 'POST'],
    ['DELETE', '/api/auth/list-sessions', 'GET'],
    ['PUT', '/api/auth/sign-in/social', 'GET, POST'],
    ['POST', '/api/auth/callback/github', 'GET'],
    ['GET', '/api/auth/revoke-session', 'POST'],
    ['PATCH', '/api/auth/admin/list-users', 'GET, POST'],
  ])('%s %s is answered 405 with what is allowed', async (method, path, allow) => {
    const before = gateway.upstream.seen.length;
    const client = await signedIn();
    const response = await client.curl(path, { method, headers: { 'content-length': '0' } });
    expect([response.status, await response.json()]).toEqual([
      405,
      expect.objectContaining({ code: 'method-not-allowed', message: expect.any(String) }),
    ]);
    expect(response.headers.get('allow')).toBe(allow);
    expect(gateway.upstream.seen.length).toBe(before);
  });

  test('no answer below /api/auth holds a token of GitHub', async () => {
    const client = await signedIn();
    const { headers } = await client.json<{ headers: Record<string, string> }>('/api/x');
    const token = headers['x-forwarded-access-token'] ?? '';
    expect(token).toMatch(/^gho_/);
    for (const path of [
      'get-session',
      'list-sessions',
      'list-accounts',
      'get-session?disableCookieCache=true',
    ]) {
      const response = await client.fetch(`/api/auth/${path}`);
      const text = (await response.text()) + JSON.stringify([...response.headers]);
      expect(response.status, path).toBe(200);
      expect(text.includes(token), path).toBe(false);
      expect(text, path).not.toMatch(/accessToken|refreshToken|v1\.s-/);
    }
  });

  test.each<Record<string, string>>([
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
    { 'sec-fetch-site': 'same-site', origin: 'http://other.127.0.0.1.example' },
    { 'sec-fetch-site': 'cross-site' },
  ])('a POST from elsewhere (%j) is refused and ends nothing', async (headers) => {
    const client = await signedIn();
    for (const path of ['sign-out', 'revoke-sessions', 'update-user', 'sign-in/social']) {
      const response = await client.curl(`/api/auth/${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: '{"name":"x","provider":"github"}',
      });
      expect([response.status, await response.json()], path).toEqual([
        403,
        expect.objectContaining({ code: 'cross-site-request', message: expect.any(String) }),
      ]);
    }
    expect(await session(client)).not.toBeNull();
  });

  test.each<Record<string, string>>([
    { 'sec-fetch-site': 'same-origin' },
    { 'sec-fetch-site': 'none' },
    { origin: 'own' },
    {},
  ])('a POST from here (%j) passes', async (given) => {
    const client = await signedIn();
    const headers = { ...given, ...(given.origin ? { origin: gateway.url } : {}), 'content-length': '0' };
    const response = await client.curl('/api/auth/sign-out', { method: 'POST', headers });
    expect(response.status).toBe(200);
  });

  test('user-scopes without a session is 401, and nobody stores the answer', async () => {
    const anonymous = await createClient(gateway.url).fetch('/api/user-scopes');
    expect([anonymous.status, await anonymous.json()]).toEqual([
      401,
      expect.objectContaining({ code: 'no-session-cookie' }),
    ]);
    const client = await signedIn();
    const response = await client.fetch('/api/user-scopes');
    expect(await response.json()).toEqual({ scopes: ['public_repo', 'read:user', 'user:email'] });
    expect(response.headers.get('cache-control')).toBe('no-store');
  });

  test.each([
    ['PUT', '/api/user-scopes'],
    ['PROPFIND', '/api/user-scopes'],
    ['PROPFIND', '/api/auth/get-session'],
    ['PROPFIND', '/_gateway/sign-in'],
    ['POST', '/_gateway/anything'],
    ['PROPFIND', '/.well-known/jwks.json'],
    ['GET', '/.well-known/jwks.json'],
  ])('%s on the reserved path %s reaches no upstream', async (method, path) => {
    const client = await signedIn();
    const before = gateway.upstream.seen.length;
    const response = await client.curl(path, { method, headers: { 'content-length': '0' } });
    expect([404, 405]).toContain(response.status);
    expect(gateway.upstream.seen.length).toBe(before);
  });
});

describe('cookies', () => {
  const flow = async (gateway: TestGateway) => {
    const started = await send(`${gateway.url}/api/auth/sign-in/social?provider=github`);
    const cookies = started.headers.getSetCookie();
    const url = started.headers.get('location') ?? '';
    const callback = new URL(await gateway.github.control.authorize({ url, login: 'octocat' }));
    const answer = await send(`${gateway.url}${callback.pathname}${callback.search}`, {
      headers: { cookie: cookies.map((line) => line.split(';', 1)[0]).join('; ') },
    });
    return [...cookies, ...answer.headers.getSetCookie()].filter((line) => !/Max-Age=0/i.test(line));
  };

  test('on http they are HttpOnly and SameSite=Lax, and live seven days', async () => {
    const gateway = await startTestGateway({ stores: 'sqlite' });
    try {
      const lines = await flow(gateway);
      const token = lines.find((line) => line.startsWith(`${SESSION}=`)) ?? '';
      expect(token).toMatch(/Max-Age=604800/i);
      expect(lines.some((line) => line.startsWith(`${JWE}=`))).toBe(true);
      for (const line of lines) {
        expect(line).toMatch(/; HttpOnly/i);
        expect(line).toMatch(/; SameSite=Lax/i);
        expect(line).toMatch(/; Path=\//i);
        expect(line).not.toMatch(/; Secure|Domain=/i);
      }
    } finally {
      await gateway.close();
    }
  });

  test('with an https address they are Secure under their __Secure- names, and only those count', async () => {
    const gateway = await startTestGateway({
      stores: 'sqlite',
      env: { BETTER_AUTH_URL: 'https://hub.example.com' },
    });
    try {
      const lines = await flow(gateway);
      expect(lines.length).toBeGreaterThanOrEqual(2);
      for (const line of lines) expect(line).toMatch(/^__Secure-better-auth\..*; Secure/i);
      const pair = lines.find((line) => line.startsWith(`__Secure-${SESSION}=`))?.split(';', 1)[0] ?? '';
      const ask = async (cookie: string) =>
        (await send(`${gateway.url}/api/x`, { headers: { cookie } })).status;
      expect(await ask(pair)).toBe(200);
      expect(await ask(pair.replace('__Secure-', ''))).toBe(401);
    } finally {
      await gateway.close();
    }
  });
});

test('behind a trusted proxy the session row holds the real client', async () => {
  const config = `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes: [{ path: /**, upstream: hub, access: session }]
trustedProxies: [127.0.0.1, 10.0.0.0/8]
`;
  const gateway = await startTestGateway({ stores: 'sqlite', config });
  try {
    const client = createClient(gateway.url);
    const started = await client.curl('/api/auth/sign-in/social?provider=github');
    const url = started.headers.get('location') ?? '';
    const callback = await gateway.github.control.authorize({ url, login: 'octocat' });
    await client.curl(callback, { headers: { 'x-forwarded-for': '1.1.1.1, 203.0.113.7, 10.1.2.3' } });
    expect(await gateway.store.query(`select "ipAddress" from session`)).toMatchObject([
      { ipAddress: '203.0.113.7' },
    ]);
  } finally {
    await gateway.close();
  }
});
