// What stands in Redis is believed only as far as a gateway wrote it for this very session, and it still holds.
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Client, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { askRedis, startRedis } from '../support/redis.ts';

describe('an entry in Redis', () => {
  let gateway: TestGateway;
  let redisUrl: string;
  beforeAll(async () => {
    gateway = await startTestGateway();
    redisUrl = gateway.config.redisUrl ?? '';
  });
  afterAll(() => gateway.close());

  const keys = async () => (await askRedis(redisUrl, 'KEYS', 'gateway:session:*')) as string[];
  /** A person, and the key their session has in Redis. */
  const cachedPerson = async () => {
    const { login } = addPerson(gateway.github);
    const { client } = await signInWithGitHub(gateway, login);
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

  test('that was copied from another person gives nobody the wrong identity', async () => {
    const [a, b] = [await cachedPerson(), await cachedPerson()];
    const entry = String(await askRedis(redisUrl, 'GET', a.key));
    await askRedis(redisUrl, 'SET', b.key, entry);
    expect(await loginSeen(b.client)).toBe(b.login);
  });

  test('that was changed by one word gives no right', async () => {
    const { client, key } = await cachedPerson();
    const entry = String(await askRedis(redisUrl, 'GET', key));
    expect(entry).toContain('"role":"user"');
    await askRedis(redisUrl, 'SET', key, entry.replace('"role":"user"', '"role":"admin"'));
    expect((await client.fetch('/api/admin/x')).status).toBe(403);
  });

  test('of another type is passed over for the store', async () => {
    const { login, client, key } = await cachedPerson();
    await askRedis(redisUrl, 'DEL', key);
    await askRedis(redisUrl, 'RPUSH', key, 'x');
    expect(await loginSeen(client)).toBe(login);
  });
});

test.each(['refuse', 'blackhole'] as const)(
  'a sign-out while Redis is away (%s) is not undone when Redis is back',
  async (fault) => {
    const redis = await startRedis();
    onTestFinished(() => redis.close());
    const proxy = await startFaultProxy(redis);
    onTestFinished(() => proxy.close());
    const gateway = await startTestGateway({ stores: 'postgres', env: { REDIS_URL: proxy.url(redis.url) } });
    onTestFinished(() => gateway.close());
    const { client } = await signInWithGitHub(gateway, 'octocat');
    const replay = createClient(gateway.url, new Map(client.cookies));
    expect((await replay.fetch('/api/x')).status).toBe(200);
    await proxy[fault]();
    const response = await client.fetch('/api/auth/sign-out', post());
    await proxy.heal();
    const ready = async () => (await fetch(`${gateway.adminUrl}/readyz`)).status;
    await expect.poll(ready, { timeout: 10_000 }).toBe(200);
    const after = (await replay.fetch('/api/x')).status;
    // Either it was refused and changed nothing, or it holds.
    expect([response.status, after]).toEqual(response.status === 503 ? [503, 200] : [200, 401]);
  },
);
