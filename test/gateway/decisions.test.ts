import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { askRedis, dumpRedis } from '../support/redis.ts';
import { send } from '../support/send.ts';

const SESSION = 'better-auth.session_token';
const SECRET = 'a-secret-for-tests-0123456789abcdefghij';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.close());

const signedIn = async (login = addPerson(gateway.github).login) =>
  (await signInWithGitHub(gateway, login)).client;
const signed = (token: string, secret = SECRET) =>
  encodeURIComponent(`${token}.${createHmac('sha256', secret).update(token).digest('base64')}`);
const withCookie = (cookie: string, path = '/api/x') =>
  send(`${gateway.url}${path}`, { headers: { cookie } });
const tokenOf = (client: Client) =>
  decodeURIComponent(client.cookies.get(SESSION) ?? '').split('.')[0] as string;

describe('a refusal', () => {
  test('is a problem document with the request id of header and log, and is not to be stored', async () => {
    const response = await send(`${gateway.url}/api/x`);
    expect(response.status).toBe(401);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': expect.stringMatching(/^application\/problem\+json/),
      'cache-control': 'no-store',
      'x-gateway-intercepted-response': 'true',
      'www-authenticate': `Cookie realm="${gateway.url}"`,
    });
    expect(response.headers.getSetCookie()).toEqual([]);
    const problem = await response.json();
    expect(problem).toEqual({
      type: expect.stringContaining('no-session-cookie'),
      title: expect.any(String),
      status: 401,
      detail: expect.any(String),
      code: 'no-session-cookie',
      requestId: response.headers.get('x-request-id'),
    });
    await expect
      .poll(() => gateway.logLines().find((line) => line.includes(problem.requestId)))
      .toMatch(/"reason":"no-session-cookie".*"status":401/);
  });

  test('says of missing scopes which, and where to grant them; the link grants them and leads back', async () => {
    const { login } = addPerson(gateway.github);
    const client = await signedIn(login);
    const response = await client.fetch('/api/workflows/7?x=1&y=2');
    expect(response.status).toBe(403);
    expect(response.headers.get('www-authenticate')).toBeNull();
    const problem = await response.json();
    expect(problem).toMatchObject({
      code: 'scope-missing',
      requiredScopes: ['workflow'],
      grantedScopes: ['public_repo', 'read:user', 'user:email'],
      missingScopes: ['workflow'],
      grantUrl: expect.stringContaining(`${gateway.url}/api/auth/sign-in/social?`),
    });
    const started = await client.curl(problem.grantUrl);
    expect(started.status).toBe(302);
    const url = started.headers.get('location') ?? '';
    const answer = await client.curl(await gateway.github.control.authorize({ url, login }));
    expect(new URL(answer.headers.get('location') ?? '', gateway.url).href).toBe(
      `${gateway.url}/api/workflows/7?x=1&y=2`,
    );
    expect(await client.json('/api/user-scopes')).toEqual({
      scopes: ['public_repo', 'read:user', 'user:email', 'workflow'],
    });
    expect((await client.fetch('/api/workflows/7')).status).toBe(200);
  });

  test('names no scope a greater one contains', async () => {
    const { login } = addPerson(gateway.github);
    const { client } = await signInWithGitHub(
      gateway,
      login,
      '/api/auth/sign-in/social?provider=github&scopes=repo',
    );
    expect((await client.fetch('/api/repos/1')).status).toBe(200);
  });

  test('of an unknown path is 404, of a method without a route 405 with Allow; neither reaches an upstream', async () => {
    const client = await signedIn();
    const before = gateway.upstream.seen.length;
    const missing = await client.fetch('/nowhere');
    expect([missing.status, await missing.json()]).toEqual([
      404,
      expect.objectContaining({ code: 'route-not-found' }),
    ]);
    const wrong = await client.fetch('/api/repos/1', { method: 'POST' });
    expect([wrong.status, await wrong.json()]).toEqual([
      405,
      expect.objectContaining({ code: 'method-not-allowed' }),
    ]);
    expect(wrong.headers.get('allow')?.split(', ').sort()).toEqual(['GET', 'HEAD']);
    expect((await send(`${gateway.url}/nowhere`)).status, '404 comes before 401').toBe(404);
    expect(gateway.upstream.seen.length).toBe(before);
  });

  test.each([
    '/api/./x',
    '/public/../api/admin/x',
    '/public/%2e%2e/api/admin/x',
    '/public/..%2fapi/admin/x',
    '/public/..%5capi',
    '/public/%252e%252e/api',
    '//api/x',
    '/api//x',
    '/public;x=1/y',
    '/public/%00',
    '/public/%zz',
    '/public/%c0%ae',
    '/public\\x',
  ])('the ambiguous path %s is answered 400 and reaches no upstream', async (path) => {
    const client = await signedIn();
    const before = gateway.upstream.seen.length;
    for (const visitor of [client, createClient(gateway.url)]) {
      const response = await visitor.curl(path);
      expect([response.status, await response.json()]).toEqual([
        400,
        expect.objectContaining({ code: 'ambiguous-path' }),
      ]);
    }
    expect(gateway.upstream.seen.length).toBe(before);
  });

  test('of a request another site sent with the cookie is 403; without a session it stays 401', async () => {
    const client = await signedIn();
    const before = gateway.upstream.seen.length;
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      const headers = { origin: 'https://evil.example', 'content-length': '0' };
      const response = await client.curl('/api/x', { method, headers });
      expect([response.status, await response.json()], method).toEqual([
        403,
        expect.objectContaining({ code: 'cross-site-request' }),
      ]);
      expect((await createClient(gateway.url).curl('/api/x', { method, headers })).status).toBe(401);
    }
    expect(gateway.upstream.seen.length).toBe(before);
    const passing = await client.curl('/api/x', {
      method: 'POST',
      headers: { origin: gateway.url, 'content-length': '0' },
    });
    expect(passing.status).toBe(200);
  });
});

describe('a browser that navigates', () => {
  test('without a session is sent to the sign-in page, which leads on and back', async () => {
    const visitor = createClient(gateway.url);
    const response = await visitor.navigate('/api/list?tab=1&q=a%20b');
    expect(response.status).toBe(302);
    expect(response.headers.get('cache-control')).toBe('no-store');
    const location = new URL(response.headers.get('location') ?? '', gateway.url);
    expect(location.origin + location.pathname).toBe(`${gateway.url}/_gateway/sign-in`);
    expect(location.searchParams.get('callbackURL')).toBe('/api/list?tab=1&q=a%20b');
    const page = await visitor.navigate(location.href);
    expect(page.headers.get('content-type')).toMatch(/^text\/html/);
    const link = /href="([^"]+)"/.exec(await page.text())?.[1]?.replaceAll('&amp;', '&') ?? '';
    const started = await visitor.navigate(link);
    const url = started.headers.get('location') ?? '';
    const back = await visitor.navigate(
      await gateway.github.control.authorize({ url, login: addPerson(gateway.github).login }),
    );
    expect(new URL(back.headers.get('location') ?? '', gateway.url).href).toBe(
      `${gateway.url}/api/list?tab=1&q=a%20b`,
    );
    expect((await visitor.navigate('/api/list?tab=1&q=a%20b')).status).toBe(200);
  });

  test('with a form, a script or an upload gets the problem document', async () => {
    const visitor = createClient(gateway.url);
    expect((await visitor.fetch('/api/x')).status).toBe(401);
    const html = { accept: 'text/html', 'content-length': '0' };
    expect((await visitor.curl('/api/x', { method: 'POST', headers: html })).status).toBe(401);
    expect((await visitor.curl('/api/x', { headers: { ...html, 'sec-fetch-mode': 'cors' } })).status).toBe(
      401,
    );
    expect((await visitor.curl('/api/x', { headers: { accept: 'application/json' } })).status).toBe(401);
  });

  test.each([
    'https://evil.example/',
    '//evil.example',
    '/\\evil.example',
    'javascript:alert(1)',
    '"><script>',
  ])('finds no way to %s on the sign-in page', async (callbackURL) => {
    const response = await createClient(gateway.url).navigate(
      `/_gateway/sign-in?callbackURL=${encodeURIComponent(callbackURL)}&error=${encodeURIComponent(callbackURL)}`,
    );
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text).not.toMatch(/evil|javascript:|<script/);
    expect(response.headers.get('content-security-policy')).toMatch(/default-src 'none'/);
  });
});

describe('a cookie', () => {
  test.each([
    ['forged', () => signed('A'.repeat(32), 'another-secret-0123456789-abcdefghijkl')],
    ['without a signature', () => 'A'.repeat(32)],
    ['empty', () => ''],
    ['of 10 KB', () => signed('A'.repeat(10_000))],
    ['with a key of Redis for a token', () => signed('gateway:session:x')],
    ['with a path for a token', () => signed('../../../../../../etc/passwd')],
    ['with broken encoding', () => '%E0%A4%A.%zz'],
    ['in Unicode', () => signed('ä'.repeat(32))],
  ])('that is %s is answered 401 session-invalid', async (_name, value) => {
    const response = await withCookie(`${SESSION}=${value()}`);
    expect([response.status, await response.json()]).toEqual([
      401,
      expect.objectContaining({ code: 'session-invalid' }),
    ]);
  });

  test('that is signed but names no session is answered 401 session-expired', async () => {
    const response = await withCookie(`${SESSION}=${signed('B'.repeat(32))}`);
    expect([response.status, await response.json()]).toEqual([
      401,
      expect.objectContaining({ code: 'session-expired' }),
    ]);
  });

  test('changed in any one character opens nothing', async () => {
    const good = decodeURIComponent((await signedIn()).cookies.get(SESSION) ?? '');
    expect((await withCookie(`${SESSION}=${encodeURIComponent(good)}`)).status).toBe(200);
    for (let at = 0; at < good.length - 1; at += 3) {
      const other = good[at] === 'A' ? 'B' : 'A';
      const changed = `${good.slice(0, at)}${other}${good.slice(at + 1)}`;
      const { status } = await withCookie(`${SESSION}=${encodeURIComponent(changed)}`);
      expect(status, `character ${at}`).toBe(401);
    }
  });

  test('sent twice with two values is nobody, whichever comes first, and never somebody else', async () => {
    const [a, b] = await Promise.all([signedIn(), signedIn()]);
    const [first, second] = [a, b].map((client) => `${SESSION}=${client.cookies.get(SESSION)}`);
    for (const cookie of [
      `${first}; ${second}`,
      `${second}; ${first}`,
      `${first}; ${SESSION}=x`,
      `${SESSION}=x; ${first}`,
    ]) {
      const response = await withCookie(cookie);
      expect([response.status, await response.json()]).toEqual([
        401,
        expect.objectContaining({ code: 'session-invalid' }),
      ]);
      const told = await withCookie(cookie, '/api/auth/get-session');
      expect(await told.json()).toBeNull();
    }
    expect((await withCookie(`${first}; ${first}`)).status).toBe(200);
    expect((await withCookie(`${first}; ${SESSION.toUpperCase()}=x`)).status).toBe(200);
    expect((await withCookie(`__Secure-${first}`)).status).toBe(401);
  });

  test('of a session whose time is over is answered 401 session-expired', async () => {
    const client = await signedIn();
    await gateway.store.query(
      `update session set "expiresAt" = $1 where token = $2`,
      new Date(Date.now() - 1000).toISOString(),
      tokenOf(client),
    );
    const response = await client.fetch('/api/x');
    expect([response.status, await response.json()]).toEqual([
      401,
      expect.objectContaining({ code: 'session-expired' }),
    ]);
  });

  test('of a session that ends while Redis holds it ends on time', async () => {
    const client = await signedIn();
    const end = Date.now() + 1500;
    await gateway.store.query(
      `update session set "expiresAt" = $1 where token = $2`,
      new Date(end).toISOString(),
      tokenOf(client),
    );
    expect((await client.fetch('/api/x')).status).toBe(200);
    await expect.poll(async () => (await client.fetch('/api/x')).status, { timeout: 5000 }).toBe(401);
    expect(Date.now()).toBeGreaterThanOrEqual(end);
    expect(Date.now()).toBeLessThan(end + 1500);
  });
});

describe('an entry in Redis', () => {
  const redisUrl = () => gateway.config.redisUrl ?? '';
  const keys = async () => (await askRedis(redisUrl(), 'KEYS', 'gateway:session:*')) as string[];
  /** A person, and the key their session has in Redis. */
  const cachedPerson = async () => {
    const { login } = addPerson(gateway.github);
    const client = await signedIn(login);
    const before = new Set(await keys());
    expect((await client.fetch('/api/x')).status).toBe(200);
    const [key = ''] = (await keys()).filter((each) => !before.has(each));
    expect(key).toMatch(/^gateway:session:[0-9a-f]{64}$/);
    return { login, client, key };
  };
  const loginSeen = async (client: Client) => {
    const response = await client.fetch('/api/x');
    expect(response.status).toBe(200);
    return (await response.json()).headers['x-forwarded-preferred-username'];
  };

  test.each([
    ['not JSON', () => 'garbage'],
    ['an empty object', () => '{}'],
    ['a list', () => '[]'],
    ['null', () => 'null'],
    ['empty', () => ''],
    ['a seal alone', () => 'x'.repeat(43)],
    ['10 MB', () => 'x'.repeat(10 * 1024 * 1024)],
    [
      'an unsealed session',
      () => `.${JSON.stringify({ id: 'x', userId: 'x', role: 'admin', expiresAt: 9e15 })}`,
    ],
  ])('that is %s is passed over for the store', async (_name, value) => {
    const { login, client, key } = await cachedPerson();
    await askRedis(redisUrl(), 'SET', key, value());
    expect(await loginSeen(client)).toBe(login);
    expect(await loginSeen(client)).toBe(login);
  });

  test('that was copied from another person gives nobody the wrong identity', async () => {
    const [a, b] = [await cachedPerson(), await cachedPerson()];
    const entry = (await askRedis(redisUrl(), 'GET', a.key)) as string;
    await askRedis(redisUrl(), 'SET', b.key, entry);
    expect(await loginSeen(b.client)).toBe(b.login);
  });

  test('that was changed by one word is passed over', async () => {
    const { client, key } = await cachedPerson();
    const entry = (await askRedis(redisUrl(), 'GET', key)) as string;
    expect(entry).toContain('"role":"user"');
    await askRedis(redisUrl(), 'SET', key, entry.replace('"role":"user"', '"role":"admin"'));
    expect((await client.fetch('/api/admin/x')).status).toBe(403);
  });

  test('of another type is passed over', async () => {
    const { login, client, key } = await cachedPerson();
    await askRedis(redisUrl(), 'DEL', key);
    await askRedis(redisUrl(), 'RPUSH', key, 'x');
    expect(await loginSeen(client)).toBe(login);
    await askRedis(redisUrl(), 'DEL', key);
  });

  test('lives about a minute', async () => {
    const { key } = await cachedPerson();
    const ttl = Number(await askRedis(redisUrl(), 'TTL', key));
    expect(ttl).toBeGreaterThan(30);
    expect(ttl).toBeLessThanOrEqual(60);
    expect(await dumpRedis(redisUrl())).toContain(key);
  });
});
