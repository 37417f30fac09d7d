import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { send } from '../support/send.ts';

/** Healing takes a reconnect; nothing here waits for longer. */
const HEALED = { timeout: 10_000, interval: 50 };

const readyz = async (gateway: TestGateway) => {
  const response = await fetch(`${gateway.adminUrl}/readyz`);
  return [response.status, await response.json()] as [number, { checks: Record<string, string> }];
};
const livez = async (gateway: TestGateway) => (await fetch(`${gateway.adminUrl}/livez`)).status;
const copyOf = (gateway: TestGateway, client: Client) => createClient(gateway.url, new Map(client.cookies));

async function expectStoreUnavailable(response: Response): Promise<void> {
  const body = await response.json();
  expect([response.status, body]).toEqual([
    503,
    expect.objectContaining({ code: 'session-store-unavailable' }),
  ]);
  expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
  expect(response.headers.getSetCookie(), 'no cookie is cleared').toEqual([]);
  expect(JSON.stringify(body)).not.toMatch(/ECONN|127\.0\.0\.1:\d|pg|select/i);
}

type Fault = 'killed' | 'paused';

async function take(server: PostgresServer | RedisServer, fault: Fault): Promise<void> {
  if (fault === 'killed') await server.kill();
  else server.pause();
}

async function bringBack(server: PostgresServer | RedisServer, fault: Fault): Promise<void> {
  if (fault === 'killed') await server.start();
  else server.resume();
}

describe.each(['killed', 'paused'] as const)('while Postgres is %s', (fault) => {
  let postgres: PostgresServer;
  let gateway: TestGateway;
  let client: Client;
  let callback: string;
  let visitor: Client;
  let pat: string;
  beforeAll(async () => {
    postgres = await startPostgres();
    gateway = await startTestGateway({ stores: 'sqlite', env: { DATABASE_URL: postgres.url } });
    ({ client } = await signInWithGitHub(gateway, 'octocat'));
    visitor = createClient(gateway.url);
    const started = await visitor.curl('/api/auth/sign-in/social?provider=github&callbackURL=/api/home');
    const url = started.headers.get('location') ?? '';
    callback = await gateway.github.control.authorize({ url, login: 'hubot' });
    pat = gateway.github.control.issueToken({ login: 'octocat', kind: 'classic', scopes: ['user'] });
    await take(postgres, fault);
  });
  afterAll(async () => {
    await gateway?.close();
    await postgres?.close();
  });

  test('sessions cannot be checked: 503, neither 401 nor a cleared cookie, and nobody is signed out', async () => {
    const paths = [
      '/api/x',
      '/optional/x',
      '/api/user-scopes',
      '/api/auth/get-session',
      '/api/auth/list-sessions',
    ];
    for (const path of paths) await expectStoreUnavailable(await client.fetch(path));
    await expectStoreUnavailable(await client.navigate('/api/x'));
    await expectStoreUnavailable(await client.fetch('/api/auth/sign-out', post()));
    await expectStoreUnavailable(await client.fetch('/api/auth/revoke-sessions', post()));
    expect(client.cookies.has('better-auth.session_token')).toBe(true);

    const from = fault === 'killed' ? '127.6.0.1' : '127.6.0.2';
    const byToken = await send(`${gateway.url}/api/auth/pat-signin`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ pat }),
      from,
    });
    await expectStoreUnavailable(byToken);
    await expectStoreUnavailable(
      await createClient(gateway.url).fetch(
        '/api/auth/sign-in/social',
        post({ provider: 'github', callbackURL: '/' }),
      ),
    );
    await expectStoreUnavailable(await visitor.curl(callback));

    expect((await createClient(gateway.url).fetch('/public/x')).status).toBe(200);
    expect((await createClient(gateway.url).fetch('/api/x')).status).toBe(401);
    const forged = createClient(gateway.url, new Map([['better-auth.session_token', 'forged']]));
    expect((await forged.fetch('/api/x')).status).toBe(401);
    expect(await livez(gateway)).toBe(200);
    expect(await readyz(gateway)).toEqual([
      503,
      expect.objectContaining({ checks: { database: expect.any(String) } }),
    ]);

    await bringBack(postgres, fault);
    await expect.poll(async () => (await copyOf(gateway, client).fetch('/api/x')).status, HEALED).toBe(200);
    await expect.poll(async () => (await readyz(gateway))[0], HEALED).toBe(200);
    expect((await client.json<{ user: unknown }>('/api/auth/get-session')).user).toBeTruthy();
    const again = await signInWithGitHub(gateway, 'hubot');
    expect((await again.client.fetch('/api/x')).status).toBe(200);
    expect((await client.fetch('/api/auth/sign-out', post())).status).toBe(200);
  });
});

describe('with Postgres and Redis', () => {
  let postgres: PostgresServer;
  let redis: RedisServer;
  let gateway: TestGateway;
  beforeAll(async () => {
    [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
    gateway = await startTestGateway({
      stores: 'sqlite',
      env: { DATABASE_URL: postgres.url, REDIS_URL: redis.url },
    });
  });
  afterEach(async () => {
    redis.resume();
    postgres.resume();
    if (redis.pid === undefined) await redis.start();
    if (postgres.pid === undefined) await postgres.start();
    await expect.poll(async () => (await readyz(gateway))[0], HEALED).toBe(200);
  });
  afterAll(async () => {
    await gateway?.close();
    await Promise.all([postgres?.close(), redis?.close()]);
  });

  test.each(['killed', 'paused'] as const)(
    'Redis %s: requests are answered from Postgres, in time',
    async (fault) => {
      const { client } = await signInWithGitHub(gateway, 'octocat');
      expect((await client.fetch('/api/x')).status).toBe(200);
      await take(redis, fault);
      for (let round = 0; round < 5; round++) {
        const startedAt = performance.now();
        expect((await client.fetch('/api/x')).status).toBe(200);
        expect(performance.now() - startedAt).toBeLessThan(1000);
      }
      expect((await createClient(gateway.url).fetch('/api/x')).status).toBe(401);
      const [status, { checks }] = await readyz(gateway);
      expect([status, checks]).toEqual([503, { database: 'ok', redis: expect.not.stringMatching(/^ok$/) }]);
      const { client: newcomer } = await signInWithGitHub(gateway, 'hubot');
      expect((await newcomer.fetch('/api/x')).status).toBe(200);
      await bringBack(redis, fault);
      await expect.poll(async () => (await readyz(gateway))[0], HEALED).toBe(200);
      expect((await client.fetch('/api/x')).status).toBe(200);
    },
  );

  test('Redis restarted empty is filled again', async () => {
    const { client } = await signInWithGitHub(gateway, 'octocat');
    expect((await client.fetch('/api/x')).status).toBe(200);
    await redis.cli('FLUSHALL');
    expect((await client.fetch('/api/x')).status).toBe(200);
    await expect.poll(() => redis.cli('KEYS', 'gateway:session:*')).toHaveLength(1);
  });

  test('Redis that takes no writes, or no longer knows us, changes no answer', async () => {
    const { client } = await signInWithGitHub(gateway, 'octocat');
    await redis.cli('CONFIG', 'SET', 'maxmemory', '1');
    expect((await client.fetch('/api/x')).status).toBe(200);
    await redis.cli('CONFIG', 'SET', 'maxmemory', '0');
    await redis.cli('ACL', 'SETUSER', 'default', '-@all');
    try {
      expect((await client.fetch('/api/x')).status).toBe(200);
    } finally {
      await redis.cli('ACL', 'SETUSER', 'default', '+@all');
    }
  });

  test('Postgres killed: sessions in Redis go on being served, others are 503', async () => {
    const { client } = await signInWithGitHub(gateway, 'octocat');
    const { client: unseen } = await signInWithGitHub(gateway, 'hubot');
    expect((await client.fetch('/api/x')).status).toBe(200);
    await redis.cli('PERSIST', 'unrelated');
    await postgres.kill();
    expect((await client.fetch('/api/x')).status).toBe(200);
    await expectStoreUnavailable(await unseen.fetch('/api/x'));
    await expectStoreUnavailable(await client.fetch('/api/auth/get-session'));
    await expectStoreUnavailable(await client.fetch('/api/auth/sign-out', post()));
    await postgres.start();
    await expect.poll(async () => (await unseen.fetch('/api/x')).status, HEALED).toBe(200);
    expect((await client.fetch('/api/auth/sign-out', post())).status).toBe(200);
    expect((await copyOf(gateway, client).fetch('/api/x')).status).toBe(401);
  });

  test('a sign-out answered 200 while Redis is away is not undone when Redis is back', async () => {
    const { client } = await signInWithGitHub(gateway, 'octocat');
    const replay = copyOf(gateway, client);
    expect((await replay.fetch('/api/x')).status).toBe(200);
    redis.pause();
    const response = await client.fetch('/api/auth/sign-out', post());
    redis.resume();
    await expect.poll(async () => (await readyz(gateway))[0], HEALED).toBe(200);
    const after = (await replay.fetch('/api/x')).status;
    // Either it was refused and changed nothing, or it holds.
    expect([response.status, after]).toEqual(response.status === 503 ? [503, 200] : [200, 401]);
  });
});

describe('a gateway that starts', () => {
  test('without Postgres lives, says so at /readyz, and serves as soon as it comes', async () => {
    const postgres = await startPostgres();
    const gateway = await (async () => {
      const first = await startTestGateway({ stores: 'sqlite', env: { DATABASE_URL: postgres.url } });
      await postgres.stop();
      return first;
    })();
    const late = await startTestGateway({
      stores: 'sqlite',
      env: { DATABASE_URL: postgres.url },
      migrate: false,
    });
    try {
      expect(await livez(late)).toBe(200);
      expect(await readyz(late)).toEqual([
        503,
        expect.objectContaining({ checks: { database: 'does not answer' } }),
      ]);
      expect((await createClient(late.url).fetch('/public/x')).status).toBe(200);
      await postgres.start();
      await expect.poll(async () => (await readyz(late))[0], HEALED).toBe(200);
      const { client } = await signInWithGitHub(late, 'octocat');
      expect((await client.fetch('/api/x')).status).toBe(200);
    } finally {
      await late.close();
      await gateway.close();
      await postgres.close();
    }
  });

  test('without Redis lives, answers from Postgres, and uses Redis as soon as it comes', async () => {
    const redis = await startRedis();
    await redis.stop();
    const gateway = await startTestGateway({ stores: 'postgres', env: { REDIS_URL: redis.url } });
    try {
      expect(await livez(gateway)).toBe(200);
      const [status, { checks }] = await readyz(gateway);
      expect([status, checks]).toEqual([503, { database: 'ok', redis: 'does not answer' }]);
      const { client } = await signInWithGitHub(gateway, 'octocat');
      expect((await client.fetch('/api/x')).status).toBe(200);
      await redis.start();
      await expect.poll(async () => (await readyz(gateway))[0], HEALED).toBe(200);
      expect((await client.fetch('/api/x')).status).toBe(200);
      await expect.poll(() => redis.cli('KEYS', 'gateway:session:*')).toHaveLength(1);
    } finally {
      await gateway.close();
      await redis.close();
    }
  });

  test('on an empty database is not ready and names what is missing; sessions are 503, not 401', async () => {
    const gateway = await startTestGateway({ stores: 'postgres', migrate: false });
    try {
      const [status, { checks }] = await readyz(gateway);
      expect(status).toBe(503);
      expect(checks.database).toMatch(/tables are missing.*user.*session.*migrate/);
      expect(await livez(gateway)).toBe(200);
      await expectStoreUnavailable(
        await createClient(gateway.url).fetch('/api/auth/sign-in/social', post({ provider: 'github' })),
      );
    } finally {
      await gateway.close();
    }
  });
});
