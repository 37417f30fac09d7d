import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Session } from '../../src/policy/session.ts';
import { openRedis } from '../../src/sessions/redis.ts';
import { createSharedTier, type SharedTier } from '../../src/sessions/shared.ts';
import { askRedis, createRedisSpace, dumpRedis, type RedisSpace, startRedis } from '../support/redis.ts';

const SECRET = 'a-secret-for-tests-0123456789abcdefghij';

const sessionOf = (id: string): Session => ({
  id,
  userId: `user-${id}`,
  expiresAt: Date.now() + 3_600_000,
  impersonatedBy: null,
  email: 'ö@example.com',
  name: 'Näme 🐙',
  role: 'user',
  ban: { reason: 'r', expiresAt: null },
  github: { id: '1', login: 'octo', encryptedToken: 'v1.x', tokenExpiresAt: null, scopes: null },
});

describe('the shared tier', () => {
  let space: RedisSpace;
  let redis: Redis;
  let tier: SharedTier;
  beforeAll(async () => {
    space = await createRedisSpace();
    redis = await openRedis(space.url, () => {});
    tier = createSharedTier(redis, SECRET);
  });
  afterAll(async () => {
    redis?.disconnect();
    await space?.drop();
  });

  const onlyKey = async (token: string) => {
    await redis.flushdb();
    await tier.set(token, sessionOf('one'));
    const keys = (await askRedis(space.url, 'KEYS', '*')) as string[];
    expect(keys).toHaveLength(1);
    return keys[0] ?? '';
  };

  test('gives back what was set, exactly, and nothing for another token', async () => {
    const session = sessionOf('a');
    await tier.set('token-a', session);
    expect(await tier.get('token-a')).toEqual(session);
    expect(await tier.get('token-b')).toBeNull();
    expect(await tier.get('')).toBeNull();
  });

  test('forgets what it is told to, and nothing else', async () => {
    for (const token of ['f1', 'f2', 'f3']) await tier.set(token, sessionOf(token));
    await tier.forget(['f1', 'f2', 'unknown']);
    await tier.forget([]);
    expect(await Promise.all(['f1', 'f2', 'f3'].map((token) => tier.get(token)))).toEqual([
      null,
      null,
      expect.objectContaining({ id: 'f3' }),
    ]);
  });

  test('keeps no token in key or value, and each entry for a minute', async () => {
    const key = await onlyKey('secret-token-of-a-session');
    expect(await dumpRedis(space.url)).not.toContain('secret-token-of-a-session');
    const ttl = Number(await askRedis(space.url, 'TTL', key));
    expect(ttl).toBeGreaterThan(50);
    expect(ttl).toBeLessThanOrEqual(60);
  });

  test('believes no entry it has not sealed for that very key', async () => {
    const key = await onlyKey('mine');
    const entry = String(await redis.get(key));
    const [seal = ''] = entry.split('.', 1);
    const body = entry.slice(seal.length + 1);
    const forgeries = [
      body,
      `.${body}`,
      `${'A'.repeat(seal.length)}.${body}`,
      `${seal}.${body.replace('"role":"user"', '"role":"admin"')}`,
      `${seal}.${body} `,
      `${seal}`,
      `${seal}.`,
      'null',
      '{}',
      '',
    ];
    for (const forgery of forgeries) {
      await redis.set(key, forgery);
      expect(await tier.get('mine'), forgery.slice(0, 60)).toBeNull();
    }
    await redis.set(key, entry);
    expect(await tier.get('mine')).toMatchObject({ id: 'one' });
    await tier.set('other', sessionOf('other'));
    const keys = await redis.keys('*');
    const otherKey = keys.find((each) => each !== key) ?? '';
    await redis.set(otherKey, entry);
    expect(await tier.get('other')).toBeNull();
    expect(await createSharedTier(redis, `${SECRET}-another`).get('mine')).toBeNull();
  });
});

test('Redis that is paused is an error within a fraction of a second, not a hang and not a miss', async () => {
  const server = await startRedis();
  const redis = await openRedis(server.url, () => {});
  const tier = createSharedTier(redis, SECRET);
  try {
    await tier.set('t', sessionOf('t'));
    server.pause();
    const startedAt = performance.now();
    await expect(tier.get('t')).rejects.toThrow();
    await expect(tier.set('t', sessionOf('t'))).rejects.toThrow();
    await expect(tier.forget(['t'])).rejects.toThrow();
    expect(performance.now() - startedAt).toBeLessThan(1000);
    server.resume();
    // What was sent meanwhile is carried out first: the entry is forgotten.
    await expect.poll(() => tier.get('t').catch(() => 'no answer'), { timeout: 5000 }).toBeNull();
    await tier.set('t', sessionOf('t'));
    expect(await tier.get('t')).toMatchObject({ id: 't' });
  } finally {
    redis.disconnect();
    await server.close();
  }
});
