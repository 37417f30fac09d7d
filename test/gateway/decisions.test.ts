import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Client,
  cookieHeader,
  createClient,
  post,
  signInWithGitHub,
  signInWithToken,
} from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { DEFAULT_CONFIG, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { requestText, sendBytes } from '../support/raw-socket.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { send } from '../support/send.ts';

const SESSION = 'better-auth.session_token';
const SECRET = 'a-secret-for-tests-0123456789abcdefghij';

const CONFIG = `${DEFAULT_CONFIG.replace(
  'routes:',
  `routes:
  - { path: /org/**, upstream: plain, access: { scopes: [repo, workflow], unknownScopes: allow } }
  - { path: /audit/**, upstream: plain, access: { roles: [auditor, admin], scopes: [workflow] } }
  - { path: "\${OPEN:-/open/**}", upstream: plain, access: public }`,
)}
trustedOrigins: [https://app.example]
`;

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ config: CONFIG });
});
afterAll(() => gateway.close());

const signedIn = async (login = addPerson(gateway.github).login) =>
  (await signInWithGitHub(gateway, login)).client;
const signed = (token: string, secret = SECRET) =>
  encodeURIComponent(`${token}.${createHmac('sha256', secret).update(token).digest('base64')}`);
const withCookie = (cookie: string, path = '/api/x') =>
  send(`${gateway.url}${path}`, { headers: { cookie } });
/** A client that sends this Cookie header. */
const withCookies = (header: string) =>
  createClient(gateway.url, new Map([header.split(/=(.*)/s, 2) as [string, string]]));
const cookieOf = (client: Client) => `Cookie: ${cookieHeader(client.cookies)}`;
const at = (other: { url: string }, client: Client) => createClient(other.url, client.cookies);
const lastSeen = () => gateway.upstream.seen.at(-1) as TestGateway['upstream']['seen'][number];
const refusal = async (client: Client, path: string) => (await client.curl(path)).json();
/** The one line a request leaves. */
const logLine = async (requestId: string) => {
  const lines = () =>
    gateway
      .logLines()
      .map((line) => JSON.parse(line))
      .filter((line) => line.requestId === requestId && line.msg === 'request');
  await expect.poll(() => lines().length).toBe(1);
  return lines()[0];
};
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

  test('says of a missing role which, and which one has', async () => {
    const client = await signedIn();
    expect(await refusal(client, '/api/admin/x')).toMatchObject({
      status: 403,
      code: 'role-missing',
      requiredRoles: ['admin'],
      roles: ['user'],
    });
    expect(await refusal(client, '/audit/x'), 'who lacks both is told of the role').toMatchObject({
      code: 'role-missing',
      requiredRoles: ['auditor', 'admin'],
    });
    const admin = await signedIn('monalisa');
    expect(await refusal(admin, '/audit/x')).toMatchObject({
      code: 'scope-missing',
      missingScopes: ['workflow'],
    });
  });

  test('says of a ban why and until when', async () => {
    const client = await signedIn();
    const until = new Date(Date.now() + 3_600_000);
    await gateway.store.query(
      `update "user" set banned = true, "banReason" = $1, "banExpires" = $2
        where id = (select "userId" from session where token = $3)`,
      ...['spam & scams', until.toISOString(), tokenOf(client)],
    );
    expect(await refusal(client, '/api/x')).toMatchObject({
      status: 403,
      code: 'user-banned',
      banReason: 'spam & scams',
      banExpires: until.toISOString(),
    });
    expect((await client.curl('/optional/x')).status).toBe(200);
    expect(lastSeen().headers['x-forwarded-user']).toBeUndefined();
  });

  test('of a fine-grained token is scopes-unknown, unless the route lets such pass', async () => {
    const { login } = addPerson(gateway.github);
    const client = createClient(gateway.url);
    const pat = gateway.github.control.issueToken({ login, kind: 'fine-grained' });
    expect((await client.fetch('/api/auth/pat-signin', post({ pat }))).status).toBe(200);
    const problem = await refusal(client, '/api/workflows/1');
    expect(problem).toMatchObject({ status: 403, code: 'scopes-unknown', requiredScopes: ['workflow'] });
    expect(problem).not.toHaveProperty('grantedScopes');
    expect((await client.curl('/org/x')).status).toBe(200);
    expect(lastSeen().headers).not.toHaveProperty('x-gateway-scopes');
    expect((await client.curl('/api/x')).status).toBe(200);
    expect(await client.json('/api/user-scopes')).toEqual({ scopes: [], known: false });
    const known = await signedIn();
    expect(await refusal(known, '/org/x')).toMatchObject({
      code: 'scope-missing',
      missingScopes: ['repo', 'workflow'],
    });
  });

  test('asks to grant what is there and what is missing together', async () => {
    const { login } = addPerson(gateway.github);
    const client = await signInWithToken(gateway, login, ['gist', 'read:user', 'user:email', 'repo']);
    const problem = await refusal(client, '/org/x?y=%20z');
    expect(problem).toMatchObject({ missingScopes: ['workflow'], requiredScopes: ['repo', 'workflow'] });
    const started = await client.curl(problem.grantUrl);
    const url = started.headers.get('location') ?? '';
    const callback = await gateway.github.control.authorize({ url, login });
    const back = await client.curl(callback);
    expect(new URL(back.headers.get('location') ?? '', gateway.url).href).toBe(`${gateway.url}/org/x?y=%20z`);
    expect((await client.json<{ scopes: string[] }>('/api/user-scopes')).scopes).toEqual(
      expect.arrayContaining(['gist', 'repo', 'workflow']),
    );
    expect((await client.curl('/org/x?y=%20z')).status).toBe(200);
  });

  test('has the same form whatever it is about, and its line in the log', async () => {
    const client = await signedIn();
    const cases = [
      [401, 'no-session-cookie', '/api/x', createClient(gateway.url), '/api/**', 'deny', null],
      [401, 'session-invalid', '/api/x', withCookies(`${SESSION}=x`), '/api/**', 'deny', null],
      [
        401,
        'session-expired',
        '/api/x',
        withCookies(`${SESSION}=${signed('C'.repeat(32))}`),
        '/api/**',
        'deny',
        null,
      ],
      [403, 'role-missing', '/api/admin/x', client, '/api/admin/**', 'deny', 'store'],
      [403, 'scope-missing', '/api/workflows/x', client, '/api/workflows/**', 'deny', 'shared'],
      [404, 'route-not-found', '/nowhere', client, null, null, null],
      [400, 'ambiguous-path', '/api//x', client, null, null, null],
    ] as const;
    for (const [status, code, path, visitor, route, decision, tier] of cases) {
      const response = await visitor.curl(path);
      const problem = await response.json();
      expect(problem).toMatchObject({
        type: expect.stringContaining(code),
        title: expect.any(String),
        detail: expect.any(String),
        ...{ status, code, requestId: response.headers.get('x-request-id') },
      });
      expect(Object.fromEntries(response.headers), code).toMatchObject({
        'content-type': expect.stringMatching(/^application\/problem\+json/),
        'cache-control': 'no-store',
        'x-gateway-intercepted-response': 'true',
      });
      expect(response.headers.has('www-authenticate'), code).toBe(status === 401);
      expect(response.headers.getSetCookie(), code).toEqual([]);
      expect(await logLine(problem.requestId)).toMatchObject({
        status,
        reason: code,
        route,
        decision,
        tier: tier && expect.stringMatching(/^(local|shared|store)$/),
      });
    }
  });

  test('is no answer of an upstream: those pass unmarked, with the request id, and are logged as allowed', async () => {
    const client = await signedIn();
    gateway.upstream.respond((_request, response) => {
      response.writeHead(401, { 'x-gateway-intercepted-response': 'true' }).end('theirs');
    });
    const response = await client.curl('/api/x');
    gateway.upstream.respond(undefined);
    expect([response.status, await response.text()]).toEqual([401, 'theirs']);
    expect(response.headers.get('x-gateway-intercepted-response')).toBeNull();
    const requestId = response.headers.get('x-request-id') ?? '';
    expect(await logLine(requestId)).toMatchObject({
      ...{ status: 401, route: '/api/**', upstream: 'hub', decision: 'allow', reason: null, tier: 'store' },
    });
  });

  test('and every other answer has a request id of its own', async () => {
    const ids = await Promise.all(
      Array.from({ length: 50 }, async () =>
        (await send(`${gateway.url}/public/x`)).headers.get('x-request-id'),
      ),
    );
    expect(new Set(ids).size).toBe(50);
  });
});

describe('a path that can be read in two ways', () => {
  const targets = [
    ...['/api/./admin/x', '/api/%2e/admin/x', '/api/admin/.', '/api/admin/..', '/./api/admin/x', '/.'],
    ...['/public/../api/admin/x', '/public/%2e%2e/api/admin/x', '/public/.%2e/api/admin/x', '/public/..'],
    ...['/public/%2E%2E/api/admin/x', '/public/x/%2e./%2e%2e/api/admin/x', '/..', '/../api/admin/x'],
    ...[
      '/public/..;/api/admin/x',
      '/public/..%2fapi/admin/x',
      '/public/..%2Fapi%2Fadmin',
      '/public/%2e%2e%2fapi',
    ],
    ...['/public/..%5capi/admin', '/public\\..\\api\\admin', '/public/..\\api', '/public%5c..%5capi'],
    ...[
      '/public/%252e%252e/api/admin/x',
      '/public/%25252e%25252e/api',
      '/api/%2561dmin/x',
      '/public/%25%32%65%25%32%65/api',
    ],
    ...[
      '//api/admin/x',
      '/api//admin/x',
      '/api///admin',
      '/public//x',
      '/public/x//',
      '//evil.example/x',
      '/public/%2f/x',
    ],
    ...['/api%2fadmin/x', '/api/admin%2fx', '/public%2f..%2fapi/admin', '/public%2Fx', '/api%5cadmin'],
    ...[
      '/public;x=1/y',
      '/public/;/x',
      '/api;/admin/x',
      '/api/admin;x',
      '/public/x;jsessionid=1',
      '/public/%3b/x',
    ],
    ...[
      '/public/%00',
      '/public/x%00.css',
      '/public/%09x',
      '/public/%0a',
      '/public/%0d%0aX-Injected:%20yes',
      '/public/%7f',
    ],
    ...[
      '/public/%',
      '/public/%2',
      '/public/%zz',
      '/public/%u002e',
      '/public/%ff',
      '/public/%c0%ae%c0%ae/api',
      '/public/%e0%80%ae',
    ],
    ...[
      '/public/x#/../api/admin',
      '/public#',
      '/public/\u00e9',
      '/public/\u00c3\u00a9',
      '/public/\u0001x',
      '/public/\u007f',
    ],
    ...[
      'http://evil.example/public/x',
      'https://evil.example/api/admin/x',
      'http://gateway.test@evil.example/public/x',
      'http://gateway.test/public/x',
      'HTTP://GATEWAY.TEST/api/admin/x',
      'ftp://gateway.test/public/x',
      'http:///public/x',
      'HTTP://evil.example:80/api/admin/x',
      '//gateway.test/api/admin/x',
      '/public/x/..;/..;/api/admin/x',
    ],
    ...[
      '*',
      'public/x',
      'api/admin/x',
      '?/public',
      '.',
      'evil.example:80',
      'javascript:alert(1)',
      '\\public\\x',
    ],
  ];

  const pieces = [
    ...[
      '/.',
      '/..',
      '/%2e',
      '/%2E%2e',
      '/.%2e',
      '/..;',
      '/;x',
      ';x=1',
      '%3b',
      '%2f',
      '%2F..',
      '%5c',
      '\\',
      '/\\..',
    ],
    ...[
      '//',
      '///',
      '/%2f',
      '%252e',
      '/%252e%252e',
      '%2500',
      '%25%32%65',
      '%00',
      '%0a',
      '%0d%0aX: y',
      '%7f',
      '%1b',
      '\x01',
    ],
    ...[
      '%',
      '%zz',
      '%u002e',
      '%ff',
      '/%c0%ae',
      '%c0%af',
      '%ed%a0%80',
      '#',
      '\xe9',
      '\xc3\xa9',
      '\x7f',
      '/.;/..',
      '/..%2f',
    ],
  ];
  /** Each piece between what anybody may ask for and what only administrators may. */
  const woven = ['/public', '/api', '/api/admin', '/optional/x'].flatMap((base) =>
    pieces.map((piece) => `${base}${piece}/api/admin/x`),
  );

  test(
    'is refused before any rule is looked at, whoever asks, and reaches no upstream',
    UNHURRIED,
    async (context) => {
      const [user, admin] = [await signedIn(), await signedIn('monalisa')];
      const roles = { anonymous: [], user: [cookieOf(user)], admin: [cookieOf(admin)] };
      expect(targets.length).toBeGreaterThanOrEqual(80);
      expect(woven.length).toBeGreaterThanOrEqual(150);
      expect((await sendBytes(gateway.url, requestText('/api/admin/x', roles.admin))).status).toBe(200);
      const before = gateway.upstream.seen.length;
      let tried = 0;
      for (const target of [...targets, ...scale({ quick: [], full: woven })])
        for (const [role, headers] of Object.entries(roles)) {
          const answer = await sendBytes(gateway.url, requestText(target, headers));
          expect(answer.status, `${JSON.stringify(target)} as ${role}`).toBe(400);
          expect(answer.head, target).not.toMatch(/^x-injected/im);
          expect(JSON.parse(answer.body).code, target).toMatch(/^(ambiguous-path|bad-request)$/);
          tried += 1;
        }
      const bypasses = gateway.upstream.seen.length - before;
      report(context, { 'bad paths × roles: tried': tried, 'bad paths × roles: bypasses': bypasses });
      expect(bypasses).toBe(0);
    },
  );

  test.each(['*', 'gateway.test:443', ''])(
    'is no question about the server either: OPTIONS %s',
    async (target) => {
      const before = gateway.upstream.seen.length;
      expect((await sendBytes(gateway.url, requestText(target, [], 'OPTIONS'))).status).toBe(400);
      expect(gateway.upstream.seen.length).toBe(before);
    },
  );

  test('or in one line that holds two is refused', async () => {
    const before = gateway.upstream.seen.length;
    for (const target of [
      '/public/x /api/admin',
      '/public/x HTTP/1.1 ',
      '',
      '/public/\tx',
      '/public/x\u00a0',
    ])
      expect((await sendBytes(gateway.url, requestText(target))).status, JSON.stringify(target)).toBe(400);
    expect(gateway.upstream.seen.length).toBe(before);
  });
});

describe('a path in another spelling', () => {
  test.each([
    ...['/api/ADMIN/x', '/API/admin/x', '/Api/Admin', '/api/admin', '/api/admin/', '/api/admin/x/'],
    ...[
      '/api/%61dmin/x',
      '/%61pi/%41dmin/x',
      '/api/admin/x?/public',
      '/api/admin?x=/../public',
      '/api/admin/%23',
    ],
  ])('has the rule of its plain one: %s', async (target) => {
    const [user, admin] = [await signedIn(), await signedIn('monalisa')];
    const answers = [];
    for (const cookies of [[], [cookieOf(user)], [cookieOf(admin)]])
      answers.push((await sendBytes(gateway.url, requestText(target, cookies))).status);
    expect(answers).toEqual([401, 403, 200]);
    expect(lastSeen().url, 'the bytes go on as they came').toBe(target);
  });

  test.each(['/apiadmin/x', '/api-admin', '/api.admin', '/publicx', '/public.x', '/optionally'])(
    'that only begins like a route is none: %s',
    async (target) => {
      const answer = await sendBytes(gateway.url, requestText(target));
      expect([answer.status, JSON.parse(answer.body).code]).toEqual([404, 'route-not-found']);
    },
  );

  test.each([
    ['X-Original-URL', '/public/x'],
    ['X-Rewrite-URL', '/public/x'],
    ['X-Forwarded-Prefix', '/public'],
    ['X-Forwarded-Uri', '/public/x'],
    ['X-HTTP-Method-Override', 'GET'],
    ['User-Agent', 'ELB-HealthChecker/2.0'],
    ['X-Forwarded-For', '127.0.0.1'],
  ])('in a header counts for nothing: %s', async (name, value) => {
    expect((await send(`${gateway.url}/api/x`, { headers: [name, value] })).status).toBe(401);
  });
});

describe("the gateway's own paths, with every other path open to all", () => {
  let open: TestGateway;
  beforeAll(async () => {
    open = await gateway.another({ OPEN: '/**' });
  });
  afterAll(() => open.close());

  const own = [
    ...['/api/auth/get-session', '/api/auth/sign-out', '/api/auth/pat-signin', '/api/auth/admin/list-users'],
    ...['/api/user-scopes', '/_gateway/sign-in', '/_gateway', '/_gateway/x/y', '/.well-known/jwks.json'],
  ];
  const spelled = (path: string) => [
    path,
    path.toUpperCase(),
    path.replace(/[a-z](?=[^a-z]*$)/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
    path.replace(/[a-z]/g, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
    path.replace('_', '%5F').replace('-', '%2D').replace('.', '%2E'),
    `${path}?x=/public`,
  ];

  test.each(own)('%s stays ours in other case and encoding, by whatever method', async (path) => {
    const client = await signedIn();
    expect((await send(`${open.url}/elsewhere`)).status).toBe(200);
    const before = gateway.upstream.seen.length;
    for (const target of spelled(path))
      for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND', 'QUERY']) {
        const { status } = await sendBytes(open.url, requestText(target, [cookieOf(client)], method));
        expect([200, 302, 400, 401, 403, 404, 405], `${method} ${target}`).toContain(status);
        expect(gateway.upstream.seen.length, `${method} ${target}`).toBe(before);
      }
  });

  test('are guarded against other sites in every spelling', async () => {
    const client = await signedIn();
    const headers = [cookieOf(client), 'Origin: https://evil.example', 'Content-Length: 0'];
    for (const target of [...spelled('/api/auth/sign-out'), '/api/auth/sign-out/']) {
      const { status } = await sendBytes(open.url, requestText(target, headers, 'POST'));
      expect([403, 404], target).toContain(status);
    }
    expect((await at(open, client).curl('/api/x')).status).toBe(200);
  });

  test('count tries of tokens in every spelling together', async () => {
    const targets = spelled('/api/auth/pat-signin');
    const body = '{"pat":"ghp_guessed"}';
    const statuses = [];
    for (let round = 0; round < 12; round++) {
      const path = targets[round % targets.length] ?? '';
      const headers = { 'content-type': 'application/json' };
      const answer = await send(`${open.url}${path}`, { method: 'POST', headers, body, from: '127.77.7.7' });
      statuses.push(answer.status);
    }
    expect(
      statuses.slice(0, 5).every((status) => status === 401 || status === 404),
      String(statuses),
    ).toBe(true);
    expect(statuses.slice(5)).toEqual([429, 429, 429, 429, 429, 429, 429]);
  });

  test('with a slash at the end are paths like any other: no cookie of ours goes there, nothing ends', async () => {
    const client = await signedIn();
    for (const path of own) {
      const before = gateway.upstream.seen.length;
      await sendBytes(open.url, requestText(`${path}/`, [cookieOf(client)]));
      for (const seen of gateway.upstream.seen.slice(before))
        expect(Object.keys(seen.headers).join()).not.toContain('cookie');
    }
    expect((await at(open, client).curl('/api/x')).status).toBe(200);
  });
});

describe('a request another site may have sent', () => {
  const evil = { origin: 'https://evil.example' };
  const refused: [string, Record<string, string | string[]>][] = [
    ['a foreign Origin', evil],
    ['the Origin null', { origin: 'null' }],
    ['a foreign Origin and cross-site', { ...evil, 'sec-fetch-site': 'cross-site' }],
    ['a sibling’s Origin and same-site', { origin: 'http://x.127.0.0.1', 'sec-fetch-site': 'same-site' }],
    ['cross-site alone', { 'sec-fetch-site': 'cross-site' }],
    ['same-site alone', { 'sec-fetch-site': 'same-site' }],
    ['an empty Sec-Fetch-Site', { 'sec-fetch-site': '' }],
    ['an Origin that begins like ours', { origin: 'OWN.evil.example' }],
    ['an Origin that ends like ours', { origin: 'http://evil.example/OWN' }],
    ['our Origin with a path', { origin: 'OWN/' }],
    ['our host by https', { origin: 'HTTPS' }],
    ['a trusted host by http', { origin: 'http://app.example' }],
    ['a trusted host on another port', { origin: 'https://app.example:8443' }],
    ['two Origins', { origin: ['OWN', 'https://evil.example'] }],
    ['two of Sec-Fetch-Site', { 'sec-fetch-site': ['same-origin', 'cross-site'] }],
  ];
  const passing: [string, Record<string, string>][] = [
    ['neither header, as scripts send', {}],
    ['our Origin', { origin: 'OWN' }],
    ['our Origin and same-origin', { origin: 'OWN', 'sec-fetch-site': 'same-origin' }],
    ['same-origin alone', { 'sec-fetch-site': 'same-origin' }],
    ['none: the person did it', { 'sec-fetch-site': 'none' }],
    ['a trusted Origin', { origin: 'https://app.example' }],
    ['a trusted Origin, cross-site', { origin: 'https://app.example', 'sec-fetch-site': 'cross-site' }],
  ];
  const filledIn = (headers: Record<string, string | string[]>) => {
    const text = JSON.stringify(headers)
      .replaceAll('OWN', gateway.url)
      .replaceAll('HTTPS', gateway.url.replace('http:', 'https:'));
    return { ...JSON.parse(text), 'content-length': '0' };
  };
  const unsafe = ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND'];

  /** What forms send, which no preflight precedes, what scripts do, and nothing at all. */
  const types = [
    ...[
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'text/plain',
      'application/json',
    ],
    ...['TEXT/PLAIN; charset=utf-8', 'application/csp-report', 'a/b;', ''],
  ];

  test.for(refused)(
    'with %s is refused, if it would change something and has our cookie',
    async ([, given], context) => {
      const client = await signedIn();
      const before = gateway.upstream.seen.length;
      let tried = 0;
      for (const method of unsafe)
        for (const path of ['/api/x', '/optional/x', '/public/x']) {
          const headers = { ...filledIn(given), 'content-type': types[tried++ % types.length] };
          const response = await client.curl(path, { method, headers });
          expect([response.status, (await response.json()).code], `${method} ${path}`).toEqual([
            403,
            'cross-site-request',
          ]);
        }
      const passed = gateway.upstream.seen.length - before;
      report(context, { 'cross-site attempts: tried': tried, 'cross-site attempts: passed': passed });
      expect(passed).toBe(0);
      const headers = filledIn(given);
      for (const method of ['GET', 'HEAD', 'OPTIONS'])
        expect((await client.curl('/api/x', { method, headers })).status, method).toBe(200);
      expect((await createClient(gateway.url).curl('/public/x', { method: 'POST', headers })).status).toBe(
        200,
      );
    },
  );

  test.each(passing)('with %s passes', async (_name, given) => {
    const client = await signedIn();
    for (const method of unsafe) {
      expect((await client.curl('/api/x', { method, headers: filledIn(given) })).status, method).toBe(200);
      expect(lastSeen().method).toBe(method);
    }
  });

  test('is refused in order: path, route, session, other site, access', async () => {
    const client = await signedIn();
    const headers = filledIn(evil);
    const codeOf = async (visitor: Client, path: string) =>
      (await (await visitor.curl(path, { method: 'POST', headers })).json()).code;
    const nobody = createClient(gateway.url);
    expect(await codeOf(client, '/api/admin//x')).toBe('ambiguous-path');
    expect(await codeOf(client, '/nowhere')).toBe('route-not-found');
    expect(await codeOf(nobody, '/api/admin/x')).toBe('no-session-cookie');
    expect(await codeOf(withCookies(`${SESSION}=x`), '/api/admin/x')).toBe('session-invalid');
    expect(await codeOf(client, '/api/admin/x')).toBe('cross-site-request');
    expect(await codeOf(client, '/api/workflows/x')).toBe('cross-site-request');
    const own = { ...filledIn({ origin: 'OWN' }) };
    const access = await client.curl('/api/admin/x', { method: 'POST', headers: own });
    expect((await access.json()).code).toBe('role-missing');
  });

  test('gets no permission to read the answer', async () => {
    const client = await signedIn();
    for (const origin of ['https://evil.example', 'null', `${gateway.url}.evil.example`]) {
      const preflight = { origin, 'access-control-request-method': 'POST' };
      for (const visitor of [client, createClient(gateway.url)])
        for (const path of ['/api/x', '/api/auth/get-session', '/api/user-scopes', '/_gateway/sign-in']) {
          const answers = [
            await visitor.curl(path, { method: 'OPTIONS', headers: preflight }),
            await visitor.curl(path, { headers: { origin } }),
          ];
          for (const { headers } of answers)
            expect(headers.get('access-control-allow-origin'), path).toBeNull();
        }
    }
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

  const html = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
  test.each<[string, Record<string, string>]>([
    ['Sec-Fetch-Mode navigate', { 'sec-fetch-mode': 'navigate' }],
    ['Sec-Fetch-Mode navigate and any type', { 'sec-fetch-mode': 'navigate', accept: '*/*' }],
    ['the Accept of an older browser', { accept: html }],
    ['text/html', { accept: 'text/html' }],
    ['TEXT/HTML, preferred', { accept: 'TEXT/HTML ; charset=utf-8, application/json;q=0.9' }],
    ['text/html behind what counts less', { accept: 'application/json;q=0.5, text/html' }],
  ])('is known by %s', async (_name, headers) => {
    for (const cookie of [undefined, `${SESSION}=x`, `${SESSION}=${signed('D'.repeat(32))}`]) {
      const given = cookie === undefined ? headers : { ...headers, cookie };
      const response = await send(`${gateway.url}/api/x?y=1`, { headers: given });
      expect([response.status, response.headers.get('location')]).toEqual([
        302,
        `/_gateway/sign-in?callbackURL=${encodeURIComponent('/api/x?y=1')}`,
      ]);
      expect(response.headers.getSetCookie(), 'no cookie is cleared').toEqual([]);
    }
  });

  test.each<[string, Record<string, string>, string?]>([
    ['no Accept', {}],
    ['any type', { accept: '*/*' }],
    ['JSON', { accept: 'application/json' }],
    ['JSON rather than HTML', { accept: 'application/json, text/html;q=0.5' }],
    ['HTML less than JSON', { accept: 'text/html;q=0.5, application/json' }],
    ['anything but HTML', { accept: 'text/html;q=0, */*' }],
    ['an image', { accept: 'image/avif,image/webp,*/*' }],
    ['fetch() that accepts HTML', { accept: html, 'sec-fetch-mode': 'cors' }],
    ['no-cors', { accept: html, 'sec-fetch-mode': 'no-cors' }],
    ['a WebSocket', { accept: html, 'sec-fetch-mode': 'websocket' }],
    ['a form that is sent', { accept: html, 'sec-fetch-mode': 'navigate', 'content-length': '0' }, 'POST'],
    ['an upload', { accept: html, 'content-length': '0' }, 'PUT'],
  ])('is not who asks for %s: that is answered with the problem', async (_name, headers, method) => {
    const response = await send(`${gateway.url}/api/x`, { headers, method });
    expect([response.status, (await response.json()).code]).toEqual([401, 'no-session-cookie']);
  });

  test('with a session is told in words what is missing, and not sent away', async () => {
    const response = await (await signedIn()).navigate('/api/admin/x');
    expect([response.status, (await response.json()).code]).toEqual([403, 'role-missing']);
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
    // A session that is remembered would be extended by being used.
    client.cookies.set('better-auth.dont_remember', 'true');
    expect((await client.fetch('/api/x')).status).toBe(200);
    await expect.poll(async () => (await client.fetch('/api/x')).status, { timeout: 5000 }).toBe(401);
    expect(Date.now()).toBeGreaterThanOrEqual(end);
    expect(Date.now()).toBeLessThan(end + 1500);
  });
});
