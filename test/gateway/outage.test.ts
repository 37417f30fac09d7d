// Stores that go away. Asking and getting no answer is 503: nobody is signed out because a server blinked.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { sign } from '../../src/sessions/cookie.ts';
import { type Client, createClient, signInWithGitHub, signInWithToken } from '../support/browser-like.ts';
import { startSurroundings, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { runCommand, startGatewayProcess } from '../support/gateway-process.ts';
import { createDatabase, type PostgresServer, startPostgres } from '../support/postgres.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import type { SendOptions } from '../support/send.ts';

const HEAL_LIMIT_MS = 5000;
/** What people still call an answer. A store that hangs is given up well before. */
const ANSWER_LIMIT_MS = 5000;
const JSON_TYPE = { 'content-type': 'application/json' };
const LINK = '/api/auth/sign-in/social?provider=github&callbackURL=/api/home';

let postgres: PostgresServer;
let redis: RedisServer;
beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
});
afterAll(async () => {
  await Promise.all([postgres?.close(), redis?.close()]);
});

type Outage = readonly [begin: () => Promise<void> | void, end: () => Promise<void> | void];

const killed = (server: () => PostgresServer | RedisServer): Outage => [
  () => server().kill(),
  () => server().start(),
];
const paused = (server: () => PostgresServer | RedisServer): Outage => [
  () => server().pause(),
  () => server().resume(),
];

async function during<T>([begin, end]: Outage, work: () => Promise<T>): Promise<T> {
  await begin();
  try {
    return await work();
  } finally {
    await end();
  }
}

function healed(question: () => Promise<number>, status = 200) {
  return expect.poll(question, { timeout: HEAL_LIMIT_MS, interval: 50 }).toBe(status);
}

async function readyz(gateway: Pick<TestGateway, 'adminUrl'>) {
  const response = await fetch(`${gateway.adminUrl}/readyz`);
  const { checks } = (await response.json()) as { checks: Record<string, string> };
  return { status: response.status, checks };
}

async function expectUnavailable(what: string, response: Response): Promise<void> {
  const text = await response.text();
  expect([what, response.status], text).toEqual([what, 503]);
  expect(JSON.parse(text), what).toMatchObject({ status: 503, code: 'session-store-unavailable' });
  expect(response.headers.get('content-type'), what).toMatch(/^application\/problem\+json(;|$)/);
  expect(response.headers.get('retry-after'), what).toMatch(/^[1-9]\d*$/);
  expect(response.headers.getSetCookie(), what).toEqual([]);
}

async function timed(work: () => Promise<Response>): Promise<{ response: Response; ms: number }> {
  const startedAt = performance.now();
  const response = await work();
  return { response, ms: performance.now() - startedAt };
}

/** Everything that has to ask the store, by its name. */
function questions(gateway: TestGateway, callback: string, browser: Client) {
  const pat = gateway.github.control.issueToken({
    login: 'octocat',
    kind: 'classic',
    scopes: ['user:email'],
  });
  const post = (body: object, more: SendOptions = {}): SendOptions => ({
    method: 'POST',
    headers: JSON_TYPE,
    body: JSON.stringify(body),
    ...more,
  });
  const social = { provider: 'github', callbackURL: '/api/home' };
  return {
    'a session route': ['/api/x'],
    'an upload to a session route': ['/api/x', { method: 'PUT', body: 'text' }],
    'an optional route': ['/optional/x'],
    'a route with scopes': ['/api/repos/x'],
    'user-scopes': ['/api/user-scopes'],
    'get-session': ['/api/auth/get-session'],
    'get-session past the cookie cache': ['/api/auth/get-session?disableCookieCache=true'],
    'list-sessions': ['/api/auth/list-sessions'],
    'list-accounts': ['/api/auth/list-accounts'],
    'admin/list-users': ['/api/auth/admin/list-users'],
    'revoke-sessions': ['/api/auth/revoke-sessions', post({})],
    'update-user': ['/api/auth/update-user', post({ name: 'Somebody' })],
    'sign-out': ['/api/auth/sign-out', post({})],
    'pat-signin': ['/api/auth/pat-signin', post({ pat }, { from: '127.0.0.9' })],
    'sign-in/social': ['/api/auth/sign-in/social', post(social)],
    'the sign-in link': [LINK],
    callback: [callback, {}, browser],
  } as Record<string, [path: string, options?: SendOptions, client?: Client]>;
}

describe.each(['postgres', 'postgres+redis'] as const)('Postgres goes away, on %s', (stores) => {
  let gateway: TestGateway;
  beforeAll(async () => {
    const shared: Record<string, string> = stores === 'postgres' ? {} : { REDIS_URL: redis.url };
    gateway = await startTestGateway({ stores: 'sqlite', env: { DATABASE_URL: postgres.url, ...shared } });
  });
  afterEach(() => healed(async () => (await readyz(gateway)).status));
  afterAll(() => gateway?.close());

  test.each([
    ['killed', killed(() => postgres)],
    ['paused', paused(() => postgres)],
  ])(
    '%s: whatever asks for a session is 503, nobody is signed out, and it heals by itself',
    async (_how, outage) => {
      // Not asked for anything before: it is in no cache.
      const client = await signInWithToken(gateway);
      const browser = createClient(gateway.url);
      const authorizeUrl = (await browser.curl(LINK)).headers.get('location') ?? '';
      const callback = await gateway.github.control.authorize({ url: authorizeUrl, login: 'hubot' });
      const cookiesBefore = new Map(client.cookies);
      const asked = questions(gateway, callback, browser);

      await during(outage, async () => {
        await Promise.all(
          Object.entries(asked).map(async ([what, [path, options, by = client]]) => {
            const { response, ms } = await timed(() => by.curl(path, options));
            await expectUnavailable(what, response);
            expect(ms, what).toBeLessThan(ANSWER_LIMIT_MS);
          }),
        );
        const page = await browser.navigate(callback);
        expect([page.status, page.headers.get('location')]).toEqual([
          302,
          '/_gateway/sign-in?error=session-store-unavailable',
        ]);
        expect(page.headers.getSetCookie()).toEqual([]);
        await expectUnavailable('a browser that navigates', await client.navigate('/api/home'));
        // What needs no store goes on.
        expect((await client.curl('/public/x')).status).toBe(200);
        expect((await createClient(gateway.url).curl('/api/x')).status).toBe(401);
        expect((await createClient(gateway.url).curl('/optional/x')).status).toBe(200);
        expect((await fetch(`${gateway.adminUrl}/livez`)).status).toBe(200);
        expect(await readyz(gateway)).toMatchObject({ status: 503, checks: { database: 'does not answer' } });
      });

      expect(client.cookies).toEqual(cookiesBefore);
      await healed(async () => (await client.curl('/api/x')).status);
      expect(await client.json('/api/auth/get-session')).toMatchObject({ user: { name: 'The Octocat' } });
      expect((await client.curl('/api/auth/sign-out', { method: 'POST' })).status).toBe(200);
      expect((await createClient(gateway.url, cookiesBefore).curl('/api/x')).status).toBe(401);
      await signInWithGitHub(gateway, 'hubot');
    },
  );

  test('a session cookie that nobody signed is 401 while the store is away: it costs no question', async () => {
    const forged = new Map([['better-auth.session_token', `${'a'.repeat(32)}.${'b'.repeat(43)}%3D`]]);
    await during(
      paused(() => postgres),
      async () => {
        const { response, ms } = await timed(() => createClient(gateway.url, forged).curl('/api/x'));
        expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([
          401,
          'session-invalid',
        ]);
        expect(ms).toBeLessThan(500);
      },
    );
  });

  if (stores === 'postgres') return;
  test('a session that is in Redis goes on', async () => {
    const client = await signInWithToken(gateway);
    expect((await client.curl('/api/x')).status).toBe(200);
    await during(
      killed(() => postgres),
      async () => {
        for (let turn = 0; turn < 3; turn++) expect((await client.curl('/api/x')).status).toBe(200);
        expect((await client.json<{ scopes: string[] }>('/api/user-scopes')).scopes).toContain('public_repo');
        // Whether it still exists only the store can tell.
        await expectUnavailable('get-session', await client.curl('/api/auth/get-session'));
      },
    );
  });
});

describe('Redis goes away', () => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({
      stores: 'sqlite',
      env: { DATABASE_URL: postgres.url, REDIS_URL: redis.url },
    });
  });
  afterEach(() => healed(async () => (await readyz(gateway)).status));
  afterAll(() => gateway?.close());

  let address = 10;
  /** Tries are counted by address: each has its own. */
  const patSignIn = async (to: TestGateway) => {
    const pat = to.github.control.issueToken({ login: 'octocat', kind: 'classic', scopes: ['user:email'] });
    const from = `127.0.1.${address++}`;
    const body = JSON.stringify({ pat });
    return createClient(to.url).curl('/api/auth/pat-signin', {
      method: 'POST',
      headers: JSON_TYPE,
      body,
      from,
    });
  };
  const signedIn = async (to: TestGateway) => (await signInWithGitHub(to, 'octocat')).client;

  /** Sessions are asked for in the store, quickly; only what must be counted is refused. */
  async function expectToGoOn(to: TestGateway, client: Client): Promise<void> {
    const paths = [
      '/api/x',
      '/optional/x',
      '/api/user-scopes',
      '/api/auth/get-session',
      '/api/auth/list-sessions',
    ];
    for (let turn = 0; turn < 3; turn++)
      for (const path of paths) {
        const { response, ms } = await timed(() => client.curl(path));
        expect([path, response.status], await response.text()).toEqual([path, 200]);
        expect(ms, path).toBeLessThan(1000);
      }
    await expectUnavailable('pat-signin', await patSignIn(to));
    const { client: another } = await signInWithGitHub(to, 'hubot');
    expect((await another.curl('/api/x')).status).toBe(200);
    expect((await another.curl('/api/auth/sign-out', { method: 'POST' })).status).toBe(200);
    expect((await createClient(to.url, another.cookies).curl('/api/x')).status).toBe(401);
  }

  const outages: [string, Outage][] = [
    ['is killed', killed(() => redis)],
    ['is paused', paused(() => redis)],
    [
      'forbids everything',
      [
        async () => void (await redis.cli('ACL', 'SETUSER', 'default', '-@all')),
        async () => void (await redis.cli('ACL', 'SETUSER', 'default', '+@all')),
      ],
    ],
  ];
  test.each(outages)(
    '%s: sessions are 200 from the store within 1 s, and it heals by itself',
    async (_how, outage) => {
      const [known, unknown] = [await signedIn(gateway), await signedIn(gateway)];
      expect((await known.curl('/api/x')).status).toBe(200);
      await during(outage, async () => {
        await expectToGoOn(gateway, known);
        await expectToGoOn(gateway, unknown);
        expect(await readyz(gateway)).toMatchObject({
          status: 503,
          checks: { database: 'ok', redis: 'does not answer' },
        });
        expect((await fetch(`${gateway.adminUrl}/livez`)).status).toBe(200);
      });
      await healed(async () => (await patSignIn(gateway)).status);
      expect((await known.curl('/api/x')).status).toBe(200);
    },
  );

  test('has no room to write: sessions are 200 from the store', async () => {
    const client = await signedIn(gateway);
    const full: Outage = [
      async () => void (await redis.cli('CONFIG', 'SET', 'maxmemory', '1')),
      async () => void (await redis.cli('CONFIG', 'SET', 'maxmemory', '0')),
    ];
    await during(full, () => expectToGoOn(gateway, client));
  });

  test('holds entries that are not what was written: they count for nothing', async () => {
    const [octocat, hubot] = [await signedIn(gateway), (await signInWithGitHub(gateway, 'hubot')).client];
    const nameSeen = async (client: Client) =>
      (await client.json<{ headers: Record<string, string> }>('/api/x')).headers[
        'x-forwarded-preferred-username'
      ];
    const keyAfter = async (client: Client) => {
      await redis.cli('FLUSHALL');
      expect(await nameSeen(client)).toBeDefined();
      const [key, ...others] = (await redis.cli('KEYS', 'gateway:session:*')) as string[];
      expect(others).toEqual([]);
      return key as string;
    };
    const keyOfHubot = await keyAfter(hubot);
    const entryOfHubot = String(await redis.cli('GET', keyOfHubot));
    const keyOfOctocat = await keyAfter(octocat);
    const changed = entryOfHubot.replace('"hubot"', '"octocat"');
    for (const entry of [
      entryOfHubot,
      changed,
      '',
      '{}',
      'null',
      'x'.repeat(1_000_000),
      entryOfHubot.slice(0, -1),
    ]) {
      await redis.cli('SET', keyOfOctocat, entry);
      expect(await nameSeen(octocat), entry.slice(0, 50)).toBe('octocat');
    }
    await redis.cli('DEL', keyOfOctocat);
    await redis.cli('LPUSH', keyOfOctocat, 'of', 'another', 'type');
    expect(await nameSeen(octocat)).toBe('octocat');
    await redis.cli('DEL', keyOfOctocat);
  });

  test.each([
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'],
    ['an error', '-LOADING Redis is loading the dataset in memory\r\n'],
    ['a success', '+OK\r\n'],
    ['garbage', '\0\xff\x16\x03garbage'],
  ])('is a server that answers with %s: sessions are 200 from the store', async (_what, text) => {
    const wrong = await listening((server) => {
      server.on('connection', (socket) =>
        socket.on('error', () => {}).on('data', () => socket.write(text, 'latin1')),
      );
    });
    const beside = await gateway.another({ REDIS_URL: `redis://127.0.0.1:${wrong}` });
    onTestFinished(() => beside.close());
    const client = await signedIn(beside);
    await expectToGoOn(beside, client);
    expect((await readyz(beside)).status).toBe(503);
  });

  async function listening(prepare: (server: Server) => void): Promise<number> {
    const server = createServer();
    prepare(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    return (server.address() as AddressInfo).port;
  }
});

describe('a gateway that is started without a store', () => {
  const CONFIG = `
upstreams: { plain: { targets: ["\${UPSTREAM}"] } }
routes:
  - { path: /public/**, upstream: plain, access: public }
  - { path: /optional/**, upstream: plain, access: optional }
  - { path: /api/**, upstream: plain, access: session }
`;
  const SECRET = 'a-secret-for-tests-0123456789abcdefghij';
  const someCookie = new Map([['better-auth.session_token', sign('a'.repeat(32), SECRET)]]);

  /** A gateway process on these stores; what is made for it ends with the test. */
  async function start(env: Record<string, string>) {
    const around = await startSurroundings({ stores: 'sqlite', config: CONFIG, env });
    onTestFinished(() => around.close());
    const gateway = await startGatewayProcess(around);
    onTestFinished(async () => {
      expect(await gateway.end(), gateway.output()).toBe(0);
    });
    return { gateway, around, client: createClient(gateway.url, new Map(someCookie)) };
  }

  test('Postgres away: it lives, says so, serves what is public, and heals by itself', async () => {
    const env = { DATABASE_URL: postgres.url, REDIS_URL: redis.url };
    const outage: Outage = [() => postgres.stop(), () => postgres.start()];
    const { gateway, around, client } = await during(outage, async () => {
      const started = await start(env);
      expect(await readyz(started.gateway)).toMatchObject({
        status: 503,
        checks: { database: 'does not answer', redis: 'ok' },
      });
      expect((await fetch(`${started.gateway.adminUrl}/livez`)).status).toBe(200);
      expect((await started.client.curl('/public/x')).status).toBe(200);
      await expectUnavailable('a session route', await started.client.curl('/api/x'));
      await expectUnavailable('an optional route', await started.client.curl('/optional/x'));
      return started;
    });
    // Whichever test came first made the tables, or none did.
    expect((await runCommand(['migrate'], { ...around.env, BETTER_AUTH_URL: gateway.url })).code).toBe(0);
    await healed(async () => (await readyz(gateway)).status);
    expect((await client.curl('/api/x')).status).toBe(401);
    expect((await (await signInWithToken(gateway)).curl('/api/x')).status).toBe(200);
  });

  test('Redis away: it lives, says so, serves sessions, and heals by itself', async () => {
    const database = await createDatabase();
    onTestFinished(() => database.drop());
    const outage: Outage = [() => redis.stop(), () => redis.start()];
    const { gateway } = await during(outage, async () => {
      const started = await start({ DATABASE_URL: database.url, REDIS_URL: redis.url });
      const env = { ...started.around.env, BETTER_AUTH_URL: started.gateway.url };
      expect((await runCommand(['migrate'], env)).code).toBe(0);
      expect(await readyz(started.gateway)).toMatchObject({
        status: 503,
        checks: { database: 'ok', redis: 'does not answer' },
      });
      expect((await fetch(`${started.gateway.adminUrl}/livez`)).status).toBe(200);
      const { client } = await signInWithGitHub(started.gateway);
      const { response, ms } = await timed(() => client.curl('/api/x'));
      expect([response.status, ms < 1000]).toEqual([200, true]);
      return started;
    });
    await healed(async () => (await readyz(gateway)).status);
    await signInWithToken(gateway);
  });

  test('tables missing: /readyz says which command makes them; until then sessions are 503, never 401', async () => {
    const database = await createDatabase();
    onTestFinished(() => database.drop());
    const { gateway, around, client } = await start({ DATABASE_URL: database.url });
    const before = await readyz(gateway);
    expect([before.status, before.checks.database]).toEqual([503, expect.stringMatching(/\bmigrate\b/)]);
    const pat = gateway.github.control.issueToken({
      login: 'octocat',
      kind: 'classic',
      scopes: ['user:email'],
    });
    const body = JSON.stringify({ pat });
    for (const path of ['/api/x', '/optional/x', '/api/user-scopes', '/api/auth/get-session', LINK])
      await expectUnavailable(path, await client.curl(path));
    const signIn = { method: 'POST', headers: JSON_TYPE, body };
    await expectUnavailable('pat-signin', await client.curl('/api/auth/pat-signin', signIn));
    expect((await client.curl('/public/x')).status).toBe(200);
    const env = { ...around.env, BETTER_AUTH_URL: gateway.url };
    const migrated = await runCommand(['migrate'], env);
    expect([migrated.code, migrated.output]).toEqual([0, expect.stringContaining('session')]);
    await healed(async () => (await readyz(gateway)).status);
    expect((await client.curl('/api/x')).status).toBe(401);
    expect((await client.curl('/api/auth/pat-signin', signIn)).status).toBe(200);
    expect((await client.curl('/api/x')).status).toBe(200);
  });
});
