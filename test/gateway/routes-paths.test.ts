// Which route takes which path and host, and what path its upstream is asked for.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, cookieHeader, createClient, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { requestText, sendBytes } from '../support/raw-socket.ts';
import { send } from '../support/send.ts';

const CONFIG = `
upstreams:
  hub: { targets: ["\${UPSTREAM}"] }
routes:
  - { path: /public/**, upstream: hub, access: public, encodedSlashes: allow, pathParameters: allow }
  - { path: /api/**, upstream: hub, encodedSlashes: allow, pathParameters: allow }
  - { path: /api/admin/**, upstream: hub, access: { roles: [admin] }, encodedSlashes: allow, pathParameters: allow }
  - { path: /strict/**, upstream: hub, access: public }
  - { path: /api/auth/**, upstream: hub, access: public, encodedSlashes: allow, pathParameters: allow }
  - { path: /.well-known/**, upstream: hub, access: public }
  - { path: /old/**, upstream: hub, access: public, rewrite: /v2/items, encodedSlashes: allow }
  - { path: /old/one, upstream: hub, access: public, rewrite: /v2/the-one }
  - { path: /docs/**, upstream: hub, access: public, hosts: [docs.example.com], rewrite: /pages }
  - { path: /docs/**, upstream: hub, access: public, hosts: ["*.example.com"], rewrite: /sub }
  - { path: /docs/private, upstream: hub, hosts: [docs.example.com] }
  - { path: /only/**, upstream: hub, access: public, hosts: [hub.example.com] }
  - { path: /docs/**, upstream: hub, access: public }
admins: [monalisa]
trustedProxies: ["\${PROXY:-192.0.2.1}"]
`;

let gateway: TestGateway;
let user: Client;
let admin: Client;
beforeAll(async () => {
  gateway = await startTestGateway({ stores: 'sqlite', config: CONFIG });
  user = (await signInWithGitHub(gateway, addPerson(gateway.github).login)).client;
  admin = (await signInWithGitHub(gateway, 'monalisa')).client;
});
afterAll(() => gateway.close());

const cookieOf = (client: Client) => `Cookie: ${cookieHeader(client.cookies)}`;
const sentTo = () => gateway.upstream.seen.at(-1)?.url;
const codeOf = (body: string) => JSON.parse(body).code;

describe('a path with %2f or ;', () => {
  test.each([
    ['/public/a%2fb', 200, 200, 200],
    ['/public/a%2Fb;v=1/c?x=%2f;', 200, 200, 200],
    ['/api/@scope%2fname', 401, 200, 200],
    ['/api/x;v=1/y%3Bz', 401, 200, 200],
    ['/api/admin/x%2fy', 401, 403, 200],
    ['/api/admin/;x=1', 401, 403, 200],
    ['/api/admin;x/', 400, 400, 400],
    ['/API/%61dmin/x%2Fy', 401, 403, 200],
  ])('that opts in, %s, is judged by the one rule of its readings', async (target, ...statuses) => {
    for (const [at, headers] of [[], [cookieOf(user)], [cookieOf(admin)]].entries()) {
      const before = gateway.upstream.seen.length;
      const answer = await sendBytes(gateway.url, requestText(target, headers));
      expect(answer.status, `${target} as ${at}`).toBe(statuses[at]);
      expect(gateway.upstream.seen.length - before).toBe(answer.status === 200 ? 1 : 0);
      if (answer.status === 200) expect(sentTo(), 'byte for byte').toBe(target);
    }
  });

  /** Each would be read as another route's by some server. */
  const bypasses = ['admin', '%61dmin', 'ADMIN', 'Admin/x'].flatMap((word) => [
    ...[`/api%2f${word}`, `/api%2F${word}`, `/api;/${word}`, `/api;x=1/${word}`, `/api%3b/${word}`],
    ...[`/public%2f..%2fapi%2f${word}`, `/public/..%2fapi/${word}`, `/public/..;/api/${word}`],
    ...[`/public/x;/../../api/${word}`, `/public/%2e%2e%2fapi/${word}`, `/public/..;x=%2f/api/${word}`],
    ...[`/api/x;%2f..%2f${word}`, `/api/x%2f..%2f${word}`, `/api/${word}%2f..%2fx`, `/api//${word};x`],
    ...[`/api/${word.replace('/x', '')};x`, `/api/${word.replace('/x', '')}%3bx/y`, `/api/.;/${word}`],
    ...[
      `/api/%2f${word}`,
      `/api%2f%2f${word}`,
      `/api/x;/..;/${word}`,
      `/api%5c${word};x`,
      `/api/x%252f${word}`,
    ],
    ...[
      `/strict/a%2f${word}`,
      `/strict;x/${word}`,
      `/nowhere%2f${word}`,
      `/nowhere;x/${word}`,
      `/${word}%2f`,
    ],
  ]);
  const own = [
    ...['/api/auth/sign-out;x', '/api/auth/sign-out%2f', '/api/auth%2fsign-out', '/api/auth;x/sign-out'],
    ...['/api/auth/admin%2flist-users', '/api/auth/admin/list-users;x', '/api/auth/admin;/list-users'],
    ...['/api/user-scopes;', '/api/user-scopes%2f', '/_gateway/sign-in;x', '/_gateway/x%2fy', '/_gateway;x'],
  ];

  test('of which some reading is another route’s or ours is refused, whoever asks', async (context) => {
    const before = gateway.upstream.seen.length;
    let tried = 0;
    for (const target of [...bypasses, ...own])
      for (const headers of [[], [cookieOf(user)], [cookieOf(admin)]])
        for (const method of ['GET', 'POST']) {
          const text = requestText(target, [...headers, 'Content-Length: 0'], method);
          const answer = await sendBytes(gateway.url, text);
          expect([answer.status, codeOf(answer.body)], target).toEqual([400, 'ambiguous-path']);
          tried++;
        }
    const bypassed = gateway.upstream.seen.length - before;
    expect(bypassed).toBe(0);
    expect((await user.curl('/api/x')).status, 'nobody was signed out').toBe(200);
    report(context, { 'bad paths × roles: tried': tried, 'bad paths × roles: bypasses': bypassed });
  });

  test('is refused for its path before its route is looked for', async () => {
    for (const target of ['/nowhere/a%2fb', '/nowhere;x', '/strict/a%2fb'])
      expect(JSON.parse((await sendBytes(gateway.url, requestText(target))).body)).toMatchObject({
        ...{ status: 400, code: 'ambiguous-path', requestId: expect.any(String) },
        reason: target.includes('%2f') ? 'encoded-slash' : 'path-parameter',
      });
  });
});

describe('a rewritten route', () => {
  test.each([
    ['/old', '/v2/items'],
    ['/old/7?x=%61', '/v2/items/7?x=%61'],
    ['/OLD/%37/', '/v2/items/%37/'],
    ['/old/a%2fb', '/v2/items/a%2fb'],
    ['/old/one?y', '/v2/the-one?y'],
  ])('sends %s on as %s', async (target, path) => {
    expect((await send(gateway.url + target)).status).toBe(200);
    expect(sentTo()).toBe(path);
  });
});

describe('a route with hosts', () => {
  const askAt = async (host: string, path = '/docs/x') => {
    const head = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    const { status } = await sendBytes(gateway.url, head);
    return status === 200 ? sentTo() : status;
  };

  test.each([
    ['docs.example.com', '/pages/x'],
    ['DOCS.example.com:8443', '/pages/x'],
    ['a.b.example.com', '/sub/x'],
    ['example.com', '/docs/x'],
    ['docs.example.com.evil.example', '/docs/x'],
    ['evil-docs.example.org', '/docs/x'],
    ['127.0.0.1', '/docs/x'],
  ])('is judged by the Host header: %s', async (host, path) => {
    expect(await askAt(host)).toBe(path);
  });

  test('takes no other host’s requests, and keeps its own rules', async () => {
    expect(await askAt('hub.example.com', '/only/x')).toBe('/only/x');
    expect(await askAt('x.hub.example.com', '/only/x')).toBe(404);
    expect(await askAt('anything.example', '/only/x')).toBe(404);
    expect(await askAt('docs.example.com', '/docs/private')).toBe(401);
    expect(await askAt('docs.example.com', '/docs/%70rivate/')).toBe(401);
  });

  test('is judged by X-Forwarded-Host only of a trusted proxy', async () => {
    const headers = { 'x-forwarded-host': 'docs.example.com' };
    expect((await send(`${gateway.url}/docs/x`, { headers })).status).toBe(200);
    expect(sentTo()).toBe('/docs/x');
    const behind = await gateway.another({ PROXY: '127.0.0.0/8', DATA_DIR: `${gateway.config.dataDir}-2` });
    try {
      expect((await send(`${behind.url}/docs/x`, { headers })).status).toBe(200);
      expect(sentTo()).toBe('/pages/x');
      expect((await send(`${behind.url}/docs/x`)).status).toBe(200);
      expect(sentTo()).toBe('/docs/x');
      const before = gateway.upstream.seen.length;
      for (const host of ['docs.example.com, evil.example', 'a b', 'a/b', 'a@b', '', 'a:b']) {
        const response = await send(`${behind.url}/nowhere`, { headers: { 'x-forwarded-host': host } });
        expect([response.status, (await response.json()).code], host).toEqual([400, 'bad-request']);
      }
      expect(gateway.upstream.seen.length).toBe(before);
    } finally {
      await behind.close();
    }
  });
});

describe('a request', () => {
  const ask = (...lines: string[]) =>
    sendBytes(gateway.url, ['GET /strict/x HTTP/1.1', ...lines, 'Connection: close', '', ''].join('\r\n'));

  test.each(['hub.example.com', 'HUB:1', '[::1]:8080', '127.0.0.1', 'a_b', 'hub.example.com.'])(
    'with the Host %s passes',
    async (host) => {
      expect((await ask(`Host: ${host}`)).status).toBe(200);
    },
  );

  test('has one Authorization and one Content-Type, and one Cookie in however many lines', async (context) => {
    const before = gateway.upstream.seen.length;
    const twice = [
      ['Authorization: Bearer a', 'Authorization: Bearer b'],
      ['Authorization: Bearer a', 'AUTHORIZATION: Bearer a'],
      ['Content-Type: text/plain', 'content-type: application/json'],
      ['Content-Type: text/plain', 'X: y', 'Content-Type: text/plain'],
    ];
    for (const lines of twice) expect((await ask('Host: a', ...lines)).status, lines.join()).toBe(400);
    const passed = gateway.upstream.seen.length - before;
    expect(passed).toBe(0);
    report(context, { 'doubled headers: tried': twice.length, 'doubled headers: passed': passed });
    const cookies = [...user.cookies].map(([name, value]) => `Cookie: ${name}=${value}`);
    const text = requestText('/api/x', ['Cookie: theme=dark', ...cookies, 'Cookie: lang=en']);
    expect((await sendBytes(gateway.url, text)).status).toBe(200);
    expect(gateway.upstream.seen.at(-1)?.headers.cookie).toBe('theme=dark; lang=en');
  });
});

describe('the gateway’s own endpoints in another spelling', () => {
  const spellings = [
    ...[
      '/api/auth/sign-out/',
      '/API/auth/sign-out',
      '/api/auth/Sign-Out',
      '/api/auth/%73ign-out',
      '/api/Auth/ok',
    ],
    ...[
      '/api/auth/get-session/',
      '/API/AUTH/GET-SESSION',
      '/api/auth/list-sessions/',
      '/api/auth/o%6b',
      '/api/auth/ok/',
    ],
    ...[
      '/api/auth/admin/list-Users',
      '/api/auth/ADMIN/list-users',
      '/api/auth/callback/GitHub',
      '/api/auth/error/',
    ],
    ...['/api/auth/%6Fk/', '/api/user-scopes/', '/.well-known/jwks.json/', '/api/auth/sign-in/social/'],
  ];

  test.each(spellings)('are 404 in words, not served and not an upstream’s: %s', async (target) => {
    const before = gateway.upstream.seen.length;
    for (const method of ['GET', 'POST']) {
      const headers = { 'content-length': '0', origin: gateway.url };
      const response = await user.curl(target, { method, headers });
      const problem = await response.json();
      expect([404, 405], target).toContain(response.status);
      expect(['route-not-found', 'method-not-allowed'], target).toContain(problem.code);
      expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    }
    expect(gateway.upstream.seen.length).toBe(before);
    expect((await user.curl('/api/x')).status, 'nothing has ended').toBe(200);
  });

  test('leave other paths beside them to the routes', async () => {
    expect((await createClient(gateway.url).curl('/api/auth/subscription/')).status).toBe(200);
    expect((await createClient(gateway.url).curl('/API/auth/subscription')).status).toBe(200);
  });
});

test('whoever calls itself a health check is asked who it is like everybody', async (context) => {
  const agents = [
    'kube-probe/1.33',
    'ELB-HealthChecker/2.0',
    'GoogleHC/1.0',
    'Consul Health Check',
    'curl/8',
  ];
  const paths = [
    'healthz',
    'livez',
    'readyz',
    'ping',
    'health',
    'status',
    'metrics',
    'favicon.ico',
    'robots.txt',
  ];
  const before = gateway.upstream.seen.length;
  let tried = 0;
  for (const agent of agents)
    for (const path of paths.flatMap((each) => [`/api/${each}`, `/${each}`, `/api/x?path=/${each}`])) {
      const headers = { 'user-agent': agent, 'x-health-check': '1', 'x-forwarded-uri': '/public/x' };
      expect([401, 404], path).toContain((await send(gateway.url + path, { headers })).status);
      tried++;
    }
  const passed = gateway.upstream.seen.length - before;
  expect(passed).toBe(0);
  report(context, { 'health checks pretended: tried': tried, 'health checks pretended: passed': passed });
});
