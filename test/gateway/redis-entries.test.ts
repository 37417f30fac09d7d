// What stands in Redis is believed only as far as a gateway wrote it for this very session.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { askRedis } from '../support/redis.ts';

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
