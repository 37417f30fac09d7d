import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Session } from '../../src/policy/session.ts';
import { openRedis } from '../../src/sessions/redis.ts';
import { createSharedTier, type SharedTier } from '../../src/sessions/shared.ts';
import { tokenHash } from '../../src/sessions/token-hash.ts';
import { askRedis, createRedisSpace, dumpRedis, type RedisSpace, startRedis } from '../support/redis.ts';

const SECRET = 'a-secret-for-tests-0123456789abcdefghij';

const tierOn = (redis: Redis, options = {}) =>
  createSharedTier(redis, { secret: SECRET, staleIfError: 900_000, ...options });

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
    // What it answers counts here, however late it is on a busy machine.
    redis.options.commandTimeout = 5000;
    tier = tierOn(redis);
  });
  // The first question begins an epoch, and so does the first after a flush.
  beforeEach(async () => {
    await tier.get('any');
    await tier.get('any');
  });
  afterAll(async () => {
    redis?.disconnect();
    await space?.drop();
  });

  const onlyKey = async (token: string) => {
    await redis.flushdb();
    await tier.get('any');
    await tier.get('any');
    await tier.set(token, sessionOf('one'));
    const keys = (await askRedis(space.url, 'KEYS', 'gateway:session:*')) as string[];
    expect(keys).toHaveLength(1);
    return keys[0] ?? '';
  };

  test('gives back what was set, exactly, and nothing for another token', async () => {
    const session = sessionOf('a');
    await tier.set('token-a', session);
    expect(await tier.get('token-a')).toEqual({
      session,
      at: expect.any(Number),
      age: expect.any(Number),
      isFresh: true,
    });
    expect(await tier.get('token-b')).toBeNull();
    expect(await tier.get('')).toBeNull();
  });

  test('forgets what it is told to, and nothing else', async () => {
    for (const token of ['f1', 'f2', 'f3']) await tier.set(token, sessionOf(token));
    await tier.forget(['f1', 'f2', 'unknown'].map(tokenHash));
    await tier.forget([]);
    expect(await Promise.all(['f1', 'f2', 'f3'].map((token) => tier.get(token)))).toEqual([
      null,
      null,
      expect.objectContaining({ session: expect.objectContaining({ id: 'f3' }) }),
    ]);
  });

  test('an answer that was read before a delete is not written after it', async () => {
    await tier.set('late', sessionOf('late'));
    await tier.forget([tokenHash('late')]);
    await tier.set('late', sessionOf('late'));
    expect(await tier.get('late')).toBeNull();
  });

  test('what is asked and written at once is told apart, and what was deleted stays so', async () => {
    const tokens = Array.from({ length: 100 }, (_, at) => `many-${at}`);
    await tier.forget(tokens.filter((_, at) => at % 3 === 0).map(tokenHash));
    const written = await Promise.all(tokens.map((token) => tier.set(token, sessionOf(token))));
    expect(written).toEqual(tokens.map((_, at) => at % 3 !== 0));
    const entries = await Promise.all([...tokens, 'nobody'].map((token) => tier.get(token)));
    expect(entries.map((entry) => entry?.session.id ?? null)).toEqual([
      ...tokens.map((token, at) => (at % 3 === 0 ? null : token)),
      null,
    ]);
  });

  test('what stands where an entry should, and is none, is no obstacle to it, nor to others', async () => {
    const key = await onlyKey('spoilt');
    await redis.del(key);
    await redis.rpush(key, 'a', 'list');
    const all = ['beside', 'spoilt', 'and another'];
    expect(await Promise.all(all.map((token) => tier.set(token, sessionOf(token))))).toEqual([
      true,
      true,
      true,
    ]);
    const entries = await Promise.all(all.map((token) => tier.get(token)));
    expect(entries.map((entry) => entry?.session.id)).toEqual(all);
  });

  test('what was handed over before a doubt does not count after it', async () => {
    await tier.get('any');
    const writing = tier.set('doubted', sessionOf('doubted'));
    tier.distrust();
    await tier.get('any');
    await writing;
    expect(await tier.get('doubted')).toBeNull();
  });

  test('keeps no token in key or value, and each entry for as long as it may stand in for the store', async () => {
    const key = await onlyKey('secret-token-of-a-session');
    expect(await dumpRedis(space.url)).not.toContain('secret-token-of-a-session');
    const ttl = Number(await askRedis(space.url, 'TTL', key));
    expect(ttl).toBeGreaterThan(890);
    expect(ttl).toBeLessThanOrEqual(900);
  });

  test('an entry is fresh for a minute, then stands in for the store, and is renewed when it is read anew', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      await tier.set('ages', sessionOf('ages'));
      vi.setSystemTime(Date.now() + 61_000);
      expect(await tier.get('ages')).toMatchObject({ isFresh: false, age: expect.any(Number) });
      await tier.set('ages', sessionOf('ages'));
      expect(await tier.get('ages')).toMatchObject({ isFresh: true });
      vi.setSystemTime(Date.now() + 901_000);
      expect(await tier.get('ages')).toBeNull();
    } finally {
      vi.useRealTimers();
    }
  });

  test('what a gateway an hour ahead wrote spares nobody the question to the store', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      const now = Date.now();
      for (const [token, ahead] of [
        ['ahead', 3_600_000],
        ['about', 14_000],
      ] as const) {
        vi.setSystemTime(now + ahead);
        await tier.set(token, sessionOf(token));
      }
      vi.setSystemTime(now);
      expect(await tier.get('ahead')).toMatchObject({ age: 0, isFresh: false });
      expect(await tier.get('about')).toMatchObject({ age: 0, isFresh: true });
    } finally {
      vi.useRealTimers();
    }
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
      '[]',
      'x'.repeat(10_000_000),
      '',
    ];
    for (const forgery of forgeries) {
      await redis.set(key, forgery);
      expect(await tier.get('mine'), forgery.slice(0, 60)).toBeNull();
    }
    await redis.del(key);
    await redis.rpush(key, entry);
    expect(await tier.get('mine'), 'a list').toBeNull();
    await redis.set(key, entry);
    expect(await tier.get('mine')).toMatchObject({ session: { id: 'one' } });
    await tier.set('other', sessionOf('other'));
    const keys = await redis.keys('gateway:session:*');
    const otherKey = keys.find((each) => each !== key) ?? '';
    await redis.set(otherKey, entry);
    expect(await tier.get('other')).toBeNull();
    expect(await tierOn(redis, { secret: `${SECRET}-another` }).get('mine')).toBeNull();
  });
});

test('Redis that is paused is an error within a fraction of a second, then left alone, then asked again', async () => {
  const server = await startRedis();
  const redis = await openRedis(server.url, () => {});
  const tier = tierOn(redis);
  try {
    await tier.get('t');
    await tier.set('t', sessionOf('t'));
    server.pause();
    const startedAt = performance.now();
    await expect(tier.get('t')).rejects.toThrow();
    await expect(tier.forget([tokenHash('t')])).rejects.toThrow();
    expect(performance.now() - startedAt).toBeLessThan(1000);
    expect(await tier.get('t')).toBeUndefined();
    server.resume();
    await expect.poll(() => tier.get('t').catch(() => undefined), { timeout: 5000 }).toBeNull();
    await tier.set('u', sessionOf('u'));
    expect(await tier.get('u')).toMatchObject({ session: { id: 'u' } });
  } finally {
    redis.disconnect();
    await server.close();
  }
});

test('after a delete that failed no older entry counts, for any gateway, even if Redis still has it', async () => {
  const server = await startRedis();
  const [mine, theirs] = [await openRedis(server.url, () => {}), await openRedis(server.url, () => {})];
  const [here, there] = [tierOn(mine), tierOn(theirs)];
  try {
    await here.get('any');
    await there.get('any');
    await here.get('any');
    await here.set('t', sessionOf('t'));
    expect(await there.get('t')).toMatchObject({ session: { id: 't' } });
    const entry = await theirs.get(`gateway:session:${tokenHash('t')}`);
    server.pause();
    await expect(here.forget([tokenHash('t')])).rejects.toThrow();
    server.resume();
    // The old entry is put back, as a Redis that comes back with old data would have it.
    await expect
      .poll(() => theirs.set(`gateway:session:${tokenHash('t')}`, entry ?? '').catch(() => null))
      .toBe('OK');
    await expect.poll(() => here.get('t').catch(() => undefined), { timeout: 5000 }).toBeNull();
    expect(await here.get('t')).toBeNull();
    expect(await there.get('t')).toBeNull();
  } finally {
    mine.disconnect();
    theirs.disconnect();
    await server.close();
  }
});
