// Redis fails in every way it can while people work: the store answers instead, and nobody notices.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, type TestContext, test, vi } from 'vitest';
import { report } from '../../support/figures.ts';
import { percentile, sample } from '../../support/load.ts';
import { isFullRun } from '../../support/scale.ts';
import {
  expectEnded,
  expectSaidOnce,
  failuresIn,
  figuresOf,
  HEAL_LIMIT_MS,
  killed,
  OUTAGE_MS,
  type Outage,
  paused,
  type Ride,
  rideThrough,
  sessionQueries,
  signOut,
  startWorld,
  TEST_LIMIT_MS,
  type World,
  warm,
} from '../../support/under-load.ts';

vi.setConfig({ testTimeout: TEST_LIMIT_MS });

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world?.close());

const redis = (...command: [string, ...string[]]) => world.redis.cli(...command);

test.for<[how: string, () => Outage]>([
  ['killed and comes back empty', () => killed(world.redis, world.proxies.redis)],
  ['silent', () => paused(world.redis)],
  ['half a second late', () => late(500)],
  [
    'behind another password',
    () => ({
      begin: async () => {
        await redis('CONFIG', 'SET', 'requirepass', 'another-password');
        await redis('CLIENT', 'KILL', 'TYPE', 'normal');
      },
      end: () => redis('CONFIG', 'SET', 'requirepass', ''),
    }),
  ],
  [
    'forbidden to us',
    () => ({
      begin: () => redis('ACL', 'SETUSER', 'default', '-@all'),
      end: () => redis('ACL', 'SETUSER', 'default', '+@all'),
    }),
  ],
  ['loading what it had', () => ({ begin: restartWithMuchToLoad, end: () => loaded })],
])('Redis is %s: nobody notices, and a sign-out meanwhile is for good', async ([, outage], context) => {
  const ride = await expectNobodyToNotice(context, outage());
  expectSaidOnce(ride, 'redis-unavailable');
});

test.for<[how: string, Outage]>([
  [
    'full, and takes no writes',
    {
      begin: () => redis('CONFIG', 'SET', 'maxmemory', '1', 'maxmemory-policy', 'noeviction'),
      end: () => redis('CONFIG', 'SET', 'maxmemory', '0'),
    },
  ],
  [
    'a replica, and takes no writes',
    { begin: () => redis('REPLICAOF', '127.0.0.1', '1'), end: () => redis('REPLICAOF', 'NO', 'ONE') },
  ],
])('Redis is %s: nobody notices, and a sign-out meanwhile is for good', async ([, outage], context) => {
  const ride = await expectNobodyToNotice(context, outage);
  expectSaidOnce(ride, 'redis-read-only');
});

test('Redis throws out what it needs room for: nobody notices', async (context) => {
  const before = await statOf('evicted_keys');
  await expectNobodyToNotice(context, {
    begin: async () =>
      redis('CONFIG', 'SET', 'maxmemory', await statOf('used_memory'), 'maxmemory-policy', 'allkeys-lru'),
    end: () => redis('CONFIG', 'SET', 'maxmemory', '0'),
  });
  const evicted = Number(await statOf('evicted_keys')) - Number(before);
  report(context, { evicted });
  expect(evicted).toBeGreaterThan(0);
});

test('Redis loses everything: nobody notices, and the store is asked once for each session', async (context) => {
  const from = Date.now();
  await expectNobodyToNotice(context, { begin: () => redis('FLUSHALL'), end: () => {} });
  const { queries, mostInASecond } = await sessionQueries(world, from, Date.now());
  report(context, { storeQueries: queries, storeQueriesMostInASecond: mostInASecond });
});

test('Redis comes back with what it had before revocations: nothing of it is believed', async (context) => {
  const people = await world.addSessions(20);
  const [one, two] = world.gateways;
  const dying = killed(world.redis, world.proxies.redis);
  await warm([one.url, two.url], people);
  await expectNobodyToNotice(context, {
    begin: async () => {
      await redis('SAVE');
      for (const person of people.slice(0, 10)) expect((await signOut(one, person)).status).toBe(200);
      await dying.begin();
      for (const person of people.slice(10))
        await world.query('delete from session where token = $1', [person.token]);
    },
    end: dying.end,
  });
  for (const person of people) await expectEnded(world, person);
  report(context, { revocations: people.length, revived: 0 });
});

function late(ms: number): Outage {
  return { begin: () => world.proxies.redis.delay(ms), end: () => world.proxies.redis.heal() };
}

let loaded: Promise<void>;

/** It takes half a millisecond a key. */
async function restartWithMuchToLoad(): Promise<void> {
  const keys = String(2 * 0.8 * Math.min(OUTAGE_MS, 20_000));
  await redis('EVAL', 'for i = 1, ARGV[1] do redis.call("SET", "filler:" .. i, i) end', '0', keys);
  await redis('SAVE');
  await world.redis.kill();
  loaded = world.redis.start();
  await sleep(100);
}

async function statOf(name: string): Promise<string> {
  return new RegExp(`^${name}:(\\d+)`, 'm').exec(String(await redis('INFO')))?.[1] ?? '';
}

/** Everybody is served, before, during and after; who has signed out meanwhile is not. */
async function expectNobodyToNotice(context: TestContext, outage: Outage): Promise<Ride> {
  const leaver = await world.addSession();
  const [one, two] = world.gateways;
  await warm([one.url, two.url], [leaver]);
  const ride = await rideThrough(world, outage, async () => {
    await sleep(OUTAGE_MS / 2);
    expect((await signOut(one, leaver)).status).toBe(200);
    expect((await sample(one.url, leaver.cookie)).status).toBe(401);
    await expectEnded(world, leaver);
  });
  const { known, inRedis, fresh, from, until } = ride;
  const figures = figuresOf(ride);
  const asking = [...inRedis, ...fresh].filter(({ sentAt }) => sentAt >= from && sentAt < until);
  report(context, { ...figures, askingP99Ms: percentile(asking, 0.99) });
  expect(failuresIn(ride, [...known, ...inRedis, ...fresh])).toEqual([]);
  expect(figures).toMatchObject({ wrong401s: 0, cookiesCleared: 0 });
  expect(figures.healedMs).toBeLessThan(HEAL_LIMIT_MS);
  // Whoever has to ask waits for Redis no longer than a tenth of a second.
  if (isFullRun) expect(percentile(asking, 0.99)).toBeLessThan(150);
  await expectEnded(world, leaver);
  return ride;
}
