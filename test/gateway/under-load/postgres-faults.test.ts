// Postgres fails in every way it can while people work: whoever is known is served, all others are told to come back.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, expect, type TestContext, test, vi } from 'vitest';
import { report } from '../../support/figures.ts';
import { kindsOf, percentile, type Sample, sample, startLoad, tally } from '../../support/load.ts';
import { isFullRun, scale } from '../../support/scale.ts';
import {
  expectSaidOnce,
  expectUnavailable,
  failuresIn,
  figuresOf,
  HEAL_LIMIT_MS,
  healed,
  killed,
  OUTAGE_MS,
  type Outage,
  type PersonSession,
  paused,
  type Ride,
  rideThrough,
  sessionQueries,
  signInWithToken,
  signOut,
  startWorld,
  TEST_LIMIT_MS,
  type World,
  warm,
} from '../../support/under-load.ts';

/** The longest a question waits: a second for a connection, one for the answer, and some for a busy machine. */
const ANSWER_LIMIT_MS = scale({ quick: 10_000, full: 3500 });
/** Who asks for one session at once. */
const CROWD = scale({ quick: 100, full: 500 });

vi.setConfig({ testTimeout: TEST_LIMIT_MS });

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world?.close());

test.for<[how: string, () => Outage]>([
  ['killed', () => killed(world.postgres, world.proxies.postgres)],
  ['silent', () => paused(world.postgres)],
  ['two seconds late', () => late(2000)],
  ['full of connections of others', taken],
])(
  'Postgres is %s: known sessions are served, all others are told to come back',
  async ([, outage], context) => {
    const [one] = world.gateways;
    await expectOnlyKnownToBeServed(context, outage(), async () => {
      expect((await fetch(`${one.adminUrl}/readyz`)).status).toBe(503);
      await expectUnavailable(await signInWithToken(world, one));
    });
    expect((await signInWithToken(world, one)).status).toBe(200);
  },
);

test('the sessions are locked: known ones are served, all others are told to come back', async (context) => {
  await expectOnlyKnownToBeServed(context, locked('access exclusive'));
});

test('sessions cannot be written: known ones are served, and a sign-out is 503 and not done', async (context) => {
  const [one, two] = world.gateways;
  const leaver = await world.addSession();
  await warm([one.url, two.url], [leaver]);
  const ride = await rideThrough(world, locked('share'), async () => {
    await sleep(OUTAGE_MS / 2);
    await expectUnavailable(await signInWithToken(world, one));
    await expectUnavailable(await signOut(one, leaver));
  });
  expectKnownToBeServed(context, ride);
  const { sent, failed } = tally(ride.fresh);
  report(context, { newSent: sent, newFailed: failed });
  expect(failed).toBeLessThan(sent / 2);
  await expect.poll(() => statusesOf(leaver), { timeout: HEAL_LIMIT_MS }).toEqual([200, 200]);
});

test.for<[late: number, status: number]>([
  [scale({ quick: 100, full: 300 }), 200],
  [2000, 503],
])(
  'many ask at once for a session nobody knows, %i ms away: one question, and all are %i',
  async ([ms, status], context) => {
    const { cookie } = await world.addSession();
    await healed(world);
    const from = Date.now();
    world.proxies.postgres.delay(ms);
    let left = CROWD;
    const load = startLoad({
      gateways: [world.gateways[0].url],
      perSecond: 1_000_000,
      nextCookie: () => (left-- > 0 ? cookie : undefined),
    });
    while (load.samples.length < CROWD) await sleep(10);
    const { queries } = await sessionQueries(world, from, Date.now());
    await world.proxies.postgres.heal();
    await load.stop();
    report(context, { ...tally(load.samples), queries });
    const answer = status === 200 ? '200' : '503 session-store-unavailable';
    expect(kindsOf(load.samples)).toEqual({ [answer]: CROWD });
    expect(queries).toBe(1);
    await healed(world);
  },
);

function late(ms: number): Outage {
  return { begin: () => world.proxies.postgres.delay(ms), end: () => world.proxies.postgres.heal() };
}

/** Somebody holds the table of sessions for themselves. */
function locked(mode: 'access exclusive' | 'share'): Outage {
  let holder: pg.Client;
  return {
    begin: async () => {
      holder = new pg.Client({ connectionString: world.postgres.url });
      await holder.connect();
      await holder.query(`begin; lock table session in ${mode} mode`);
    },
    end: () => holder.end(),
  };
}

/** Others have every connection there is, and the gateways none. */
function taken(): Outage {
  const elsewhere = new URL('/template1', world.postgres.url).href;
  const others: pg.Client[] = [];
  const connect = async () => {
    const other = new pg.Client({ connectionString: elsewhere });
    other.on('error', () => {});
    await other.connect();
    others.push(other);
    return other;
  };
  return {
    begin: async () => {
      const first = await connect();
      // Or the gateways would be first to take what they have just lost.
      await first.query('alter database postgres allow_connections false');
      const theirs = `from pg_stat_activity where application_name like 'better-hub-gateway%'`;
      await first.query(`select pg_terminate_backend(pid) ${theirs}`);
      // One that ends later would leave its place to them.
      await expect
        .poll(async () => (await first.query(`select pid ${theirs}`)).rowCount, {
          timeout: 10_000,
          interval: 10,
        })
        .toBe(0);
      for (let full = false; !full; )
        await connect().catch((error: { code?: string }) => {
          full = error.code === '53300';
          if (!full) throw error;
        });
      await first.query('alter database postgres allow_connections true');
    },
    end: () => Promise.all(others.map((other) => other.end())),
  };
}

/** And whose sign-out was answered 503 is still signed in. */
async function expectOnlyKnownToBeServed(
  context: TestContext,
  outage: Outage,
  meanwhile: () => Promise<void> = async () => {},
): Promise<void> {
  const [one, two] = world.gateways;
  const leaver = await world.addSession();
  await warm([one.url, two.url], [leaver]);
  const ride = await rideThrough(world, outage, async () => {
    await sleep(OUTAGE_MS / 2);
    await meanwhile();
    await expectUnavailable(await signOut(one, leaver));
  });
  expectKnownToBeServed(context, ride);
  expectOthersToComeBack(context, ride);
  expectSaidOnce(ride, 'database-unavailable');
  await expect.poll(() => statusesOf(leaver), { timeout: HEAL_LIMIT_MS }).toEqual([200, 200]);
}

function statusesOf({ cookie }: PersonSession): Promise<number[]> {
  return Promise.all(world.gateways.map(async ({ url }) => (await sample(url, cookie)).status));
}

function expectKnownToBeServed(context: TestContext, ride: Ride): void {
  const { until, backAt } = ride;
  const { wrong401s, cookiesCleared, healedMs, lastFailureMs, logLines } = figuresOf(ride);
  expect(
    ride.inRedis.filter(({ status, sentAt }) => status === 200 && sentAt < until).length,
  ).toBeGreaterThan(0);
  // Redis has a tenth of a second to answer: on a machine that is busy with other tests that may be too short. And
  // it counts no more once a gap is over: what fails while the store comes back is a figure, and has a limit.
  const isHealing = ({ sentAt }: Sample) => sentAt >= until && sentAt < backAt + HEAL_LIMIT_MS;
  const live = [...ride.known, ...(isFullRun ? ride.inRedis.filter((each) => !isHealing(each)) : [])];
  const healing = ride.inRedis.filter(isHealing);
  report(context, { ...tally(live), wrong401s, cookiesCleared, healedMs, lastFailureMs, logLines });
  report(context, { sentWhileHealing: healing.length, failedWhileHealing: tally(healing).failed });
  expect(failuresIn(ride, live)).toEqual([]);
  expect({ wrong401s, cookiesCleared }).toEqual({ wrong401s: 0, cookiesCleared: 0 });
  expect(healedMs).toBeLessThan(HEAL_LIMIT_MS);
  expect(lastFailureMs).toBeLessThan(HEAL_LIMIT_MS);
}

function expectOthersToComeBack(context: TestContext, { fresh, from, until }: Ride): void {
  const refused = fresh.filter(({ status }) => status !== 200);
  // Who still waits when the outage ends may be answered after all.
  const asked = fresh.filter(({ sentAt, ms }) => sentAt >= from && sentAt + ms < until);
  report(context, {
    newSent: asked.length,
    newRefused: refused.length,
    newP99Ms: percentile(asked, 0.99),
    newLongestMs: percentile(asked, 1),
  });
  expect(asked.length).toBeGreaterThan(0);
  expect(kindsOf(asked)).toEqual({ '503 session-store-unavailable': asked.length });
  expect(kindsOf(refused)).toEqual({ '503 session-store-unavailable': refused.length });
  expect(refused.filter(({ hasRetryAfter }) => !hasRetryAfter)).toEqual([]);
  expect(percentile(asked, 1)).toBeLessThan(ANSWER_LIMIT_MS);
}
