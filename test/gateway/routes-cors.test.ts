// What pages of other origins may send and read, per route.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';

const APP = 'https://app.example.com';
const CONFIG = `
upstreams:
  hub: { targets: ["\${UPSTREAM}"], timeouts: { connect: 1s } }
  gone: { targets: ["http://127.0.0.1:9"] }
routes:
  - { path: /plain/**, upstream: hub }
  - { path: /open/**, upstream: hub, access: public, cors: { origins: ["*"] } }
  - { path: /read/**, upstream: hub, cors: { origins: [${APP}], methods: [GET, PATCH], exposeHeaders: [etag], maxAge: 1h } }
  - { path: /act/**, upstream: hub, cors: { origins: [${APP}], credentials: true, headers: [content-type, x-trace] } }
  - { path: /act/admin/**, upstream: hub, access: { roles: [admin] }, cors: { origins: [${APP}], credentials: true } }
  - { path: /look/**, upstream: hub, cors: { origins: [${APP}], credentials: true, methods: [GET] } }
  - { path: /gone/**, upstream: gone, access: public, cors: { origins: [${APP}] } }
  - { path: /small/**, upstream: hub, access: public, maxBodySize: 1kb, cors: { origins: [${APP}] } }
  - { path: /one/**, methods: [POST], upstream: hub, cors: { origins: [${APP}] } }
  - { path: /hooks/**, upstream: hub, access: optional, crossSite: allow }
  - { path: /hooks/strict/**, upstream: hub, access: optional }
  - { path: /ownoptions/**, methods: [GET, OPTIONS], upstream: hub, access: public }
trustedOrigins: [https://trusted.example]
`;

let gateway: TestGateway;
let client: Client;
beforeAll(async () => {
  gateway = await startTestGateway({ stores: 'sqlite', config: CONFIG });
  client = (await signInWithGitHub(gateway, addPerson(gateway.github).login)).client;
});
afterAll(() => gateway.close());

/** Without a cookie of any earlier answer. */
const nobody = () => createClient(gateway.url);
/** The Access-Control-* of an answer, and Vary. */
const told = ({ headers }: Response) =>
  Object.fromEntries([...headers].filter(([name]) => /^(access-control-|vary$)/.test(name)));
const preflight = (path: string, { origin = APP, method = 'GET', visitor = nobody() } = {}) =>
  visitor.curl(path, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': 'x-any' },
  });
const LOOK_ALIKES = [
  ...[
    'null',
    '',
    'https://evil.example',
    'http://app.example.com',
    `${APP}:8443`,
    `${APP}:443`,
    `${APP}/`,
    `${APP}.`,
  ],
  ...[
    'https://APP.example.com',
    `${APP}.evil.example`,
    'https://evilapp.example.com',
    'https://x.app.example.com',
  ],
  ...['https://example.com', 'https://app.example.co', 'https://appXexample.com', `${APP}@evil.example`, '*'],
  ...[
    `${APP}, https://evil.example`,
    `https://evil.example, ${APP}`,
    `${APP} https://evil.example`,
    'file://',
  ],
];

describe('a preflight', () => {
  test('is answered by the gateway, for the method that is asked about, and nobody is asked', async () => {
    const before = gateway.upstream.seen.length;
    for (const visitor of [nobody(), client]) {
      const answer = await preflight('/act/x', { method: 'PUT', visitor });
      expect([answer.status, await answer.text()]).toEqual([204, '']);
      expect(told(answer)).toEqual({
        vary: 'Origin',
        'access-control-allow-origin': APP,
        'access-control-allow-credentials': 'true',
        'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
        'access-control-allow-headers': 'content-type, x-trace',
        'access-control-max-age': '600',
      });
    }
    expect(told(await preflight('/read/x'))).toMatchObject({
      'access-control-allow-methods': 'GET, PATCH, HEAD',
      'access-control-max-age': '3600',
    });
    expect(told(await preflight('/one/x', { method: 'POST' }))).toMatchObject({
      'access-control-allow-methods': 'POST',
    });
    expect((await preflight('/act/admin/x', { method: 'DELETE' })).status).toBe(204);
    expect(gateway.upstream.seen.length).toBe(before);
  });

  test('of all origins is answered for all, without cookies', async () => {
    expect(told(await preflight('/open/x', { origin: 'https://any.example' }))).toEqual({
      vary: 'Origin',
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
      'access-control-allow-headers': 'content-type',
      'access-control-max-age': '600',
    });
  });

  test('about a method without a route is refused as its request would be', async () => {
    const answer = await preflight('/one/x', { method: 'PUT' });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST']);
    expect((await preflight('/nowhere')).status).toBe(404);
    expect((await preflight('/act//x')).status).toBe(400);
    expect(told(answer)).toEqual({});
  });

  test('of a route without cors is its upstream’s, and announces nobody, whatever cookies it has', async () => {
    const before = gateway.upstream.seen.length;
    for (const visitor of [nobody(), client])
      expect((await preflight('/plain/x', { visitor })).status, 'a session is needed').toBe(401);
    expect(gateway.upstream.seen.length).toBe(before);
    for (const path of ['/ownoptions/x', '/hooks/x']) {
      expect((await preflight(path, { visitor: client })).status).toBe(200);
      const seen = gateway.upstream.seen.at(-1);
      expect([seen?.method, seen?.headers['x-forwarded-user'], seen?.headers.cookie]).toEqual([
        'OPTIONS',
        undefined,
        undefined,
      ]);
    }
    expect((await client.curl('/plain/x', { method: 'OPTIONS' })).status, 'is none without Origin').toBe(200);
  });
});

describe('a refusal', () => {
  test('can be read by the pages of the route', async () => {
    const headers = { origin: APP };
    const ours = { 'access-control-allow-origin': APP, vary: 'Origin' };
    const refused = await nobody().curl('/read/x', { headers });
    expect([refused.status, told(refused)]).toEqual([
      401,
      { ...ours, 'access-control-expose-headers': 'etag' },
    ]);
    const missing = await client.curl('/act/admin/x', { headers });
    expect([missing.status, told(missing)]).toEqual([
      403,
      { ...ours, 'access-control-allow-credentials': 'true' },
    ]);
    const large = await nobody().curl('/small/x', { method: 'POST', headers, body: 'x'.repeat(2000) });
    expect([large.status, told(large)]).toEqual([413, ours]);
    const broken = await nobody().curl('/gone/x', { headers });
    expect([broken.status, told(broken)]).toEqual([502, ours]);
    expect(broken.headers.get('x-gateway-intercepted-response')).toBe('true');
  });

  test('tells no page of another origin anything, and caches that it might', async () => {
    for (const origin of ['https://evil.example', 'null'])
      expect(told(await nobody().curl('/read/x', { headers: { origin } }))).toEqual({ vary: 'Origin' });
    expect(told(await nobody().curl('/read/x'))).toEqual({ vary: 'Origin' });
    expect(told(await nobody().curl('/plain/x', { headers: { origin: APP } }))).toEqual({});
  });

  test('of a method those pages may not use cannot be read', async () => {
    const answer = await nobody().curl('/read/x', {
      method: 'POST',
      headers: { origin: APP, 'content-length': '0' },
    });
    expect([answer.status, told(answer)]).toEqual([401, { vary: 'Origin' }]);
  });
});

test('no look-alike of an origin is told anything, by preflight or refusal, on any route', async (context) => {
  let tried = 0;
  let passed = 0;
  for (const origin of LOOK_ALIKES)
    for (const path of ['/read/x', '/act/x', '/act/admin/x', '/look/x', '/one/x', '/plain/x', '/api/auth/ok'])
      for (const visitor of [nobody(), client]) {
        const answers = [
          await preflight(path, { origin, method: 'POST', visitor }),
          await preflight(path, { origin, visitor }),
          await nobody().curl(path, { headers: { origin } }),
        ];
        for (const answer of answers) {
          tried++;
          if (Object.keys(told(answer)).some((name) => name.startsWith('access-control'))) passed++;
        }
      }
  expect(passed, `of ${tried}`).toBe(0);
  report(context, { 'CORS look-alikes: tried': tried, 'CORS look-alikes: told': passed });
});

test('the gateway’s own endpoints tell no other origin anything', async () => {
  for (const path of [
    ...['/api/auth/get-session', '/api/auth/ok', '/api/auth/sign-out', '/api/auth/sign-in/social'],
    ...['/api/user-scopes', '/_gateway/sign-in', '/_gateway/x', '/api/auth/get-session/'],
  ])
    for (const origin of [APP, 'https://trusted.example', gateway.url, 'https://evil.example'])
      for (const answer of [
        await preflight(path, { origin, method: 'POST', visitor: client }),
        await preflight(path, { origin, visitor: client }),
        await nobody().curl(path, { headers: { origin } }),
      ])
        expect(answer.headers.get('access-control-allow-origin'), `${path} for ${origin}`).toBeNull();
});

describe('a request with our cookie from another site', () => {
  const act = (path: string, origin: string, method = 'POST', type = 'application/json') =>
    client.curl(path, {
      method,
      headers: { origin, 'sec-fetch-site': 'cross-site', 'content-type': type, 'content-length': '0' },
    });
  /** What forms send, which no preflight precedes, and what scripts do. */
  const types = [
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    'text/plain',
    'application/json',
  ];

  test('passes where the route’s cors trusts its origin with cookies', async () => {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
      expect((await act('/act/x', APP, method)).status, method).toBe(200);
    expect(gateway.upstream.seen.at(-1)?.headers['x-forwarded-user']).toEqual(expect.any(String));
  });

  const refused = [
    ...LOOK_ALIKES.map((origin) => ['/act/x', origin] as const),
    ...LOOK_ALIKES.map((origin) => ['/act/admin/x', origin] as const),
    ...['/read/x', '/look/x', '/one/x', '/plain/x', '/open/x', '/hooks/strict/x'].map(
      (path) => [path, APP] as const,
    ),
  ];

  test('is refused everywhere else, and no upstream sees it', async (context) => {
    const before = gateway.upstream.seen.length;
    let tried = 0;
    for (const [path, origin] of refused)
      for (const method of path === '/one/x' ? ['POST'] : ['POST', 'PUT', 'PATCH', 'DELETE']) {
        const answer = await act(path, origin, method, types[tried % types.length]);
        expect([answer.status, (await answer.json()).code], `${method} ${path} from ${origin}`).toEqual([
          403,
          'cross-site-request',
        ]);
        tried++;
      }
    const passed = gateway.upstream.seen.length - before;
    expect(passed).toBe(0);
    report(context, { 'cross-site attempts: tried': tried, 'cross-site attempts: passed': passed });
  });

  test('passes where the route says that others may send it', async () => {
    for (const origin of ['https://evil.example', 'null', APP])
      expect((await act('/hooks/x', origin)).status, origin).toBe(200);
    expect((await act('/hooks/strict/x', 'https://trusted.example')).status).toBe(200);
  });
});
