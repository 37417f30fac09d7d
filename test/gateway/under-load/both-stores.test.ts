// Both stores fail, or are not there yet: memory serves whom it knows, all others are told to come back, and it heals.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { report } from '../../support/figures.ts';
import { startGatewayProcess } from '../../support/gateway-process.ts';
import { kindsOf, sample, sampleAll, tally } from '../../support/load.ts';
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
  paused,
  rideThrough,
  signInWithToken,
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

const redisKilled = () => killed(world.redis, world.proxies.redis);
const postgresKilled = () => killed(world.postgres, world.proxies.postgres);
const bothKilled = () => together(redisKilled(), postgresKilled());
const bothPaused = () => together(paused(world.redis), paused(world.postgres));

test.for<[how: string, () => Outage]>([
  ['killed', bothKilled],
  ['silent', bothPaused],
])('both are %s: memory serves, all others are 503, and it heals by itself', async ([, outage], context) => {
  const [one, two] = world.gateways;
  const leaver = await world.addSession();
  await warm([one.url, two.url], [leaver]);
  const ride = await rideThrough(world, outage(), async () => {
    await sleep(OUTAGE_MS / 2);
    expect((await fetch(`${one.adminUrl}/livez`)).status).toBe(200);
    await expectUnavailable(await signInWithToken(world, one));
    await expectUnavailable(await signOut(one, leaver));
  });
  const { from, until, known } = ride;
  const { wrong401s, cookiesCleared, healedMs, lastFailureMs, logLines } = figuresOf(ride);
  const others = [...ride.inRedis, ...ride.fresh].filter(
    (each) => each.sentAt > from && each.sentAt + each.ms < until,
  );
  report(context, { ...tally(known), wrong401s, cookiesCleared, healedMs, lastFailureMs, logLines });
  report(context, { refused: others.length });
  expect(failuresIn(ride, known)).toEqual([]);
  expect(others.length).toBeGreaterThan(0);
  expect(kindsOf(others)).toEqual({ '503 session-store-unavailable': others.length });
  expect(others.filter(({ hasRetryAfter }) => !hasRetryAfter)).toEqual([]);
  expect({ wrong401s, cookiesCleared }).toEqual({ wrong401s: 0, cookiesCleared: 0 });
  expect(healedMs).toBeLessThan(HEAL_LIMIT_MS);
  expect(lastFailureMs).toBeLessThan(HEAL_LIMIT_MS);
  for (const state of ['redis-unavailable', 'database-unavailable']) expectSaidOnce(ride, state);
  await warm([one.url, two.url], [leaver]);
});

describe('a gateway that is started while', () => {
  test.for<[string, () => Outage, away: string[], status: number]>([
    ['Redis is away serves from the store', redisKilled, ['redis'], 200],
    ['Postgres is away is not ready', postgresKilled, ['database'], 503],
    ['both are away is not ready', bothKilled, ['database', 'redis'], 503],
  ])('%s, and heals by itself', async ([, makeOutage, away, status], context) => {
    const [known, ...people] = await world.addSessions(20);
    await healed(world);
    const outage = makeOutage();
    await outage.begin();
    const gateway = await startGatewayProcess(world.around).catch(async (error: unknown) => {
      await outage.end();
      throw error;
    });
    onTestFinished(async () => void (await gateway.end()));
    try {
      expect((await fetch(`${gateway.adminUrl}/livez`)).status).toBe(200);
      const readyz = await fetch(`${gateway.adminUrl}/readyz`);
      const { checks } = (await readyz.json()) as { checks: Record<string, string> };
      const named = Object.keys(checks).filter((name) => checks[name] === 'does not answer');
      expect([readyz.status, named]).toEqual([503, away]);
      expect(await sample(gateway.url, known?.cookie ?? '')).toMatchObject({
        status,
        hasRetryAfter: status === 503,
        clearsCookies: false,
      });
    } finally {
      await outage.end();
    }
    const endedAt = performance.now();
    await expect
      .poll(async () => (await fetch(`${gateway.adminUrl}/readyz`)).status, {
        timeout: HEAL_LIMIT_MS,
        interval: 20,
      })
      .toBe(200);
    const answers = kindsOf(
      await sampleAll(
        gateway.url,
        people.map(({ cookie }) => cookie),
      ),
    );
    report(context, { readyMs: Math.round(performance.now() - endedAt) });
    expect(answers).toEqual({ '200': people.length });
  });
});

function together(...outages: readonly Outage[]): Outage {
  return {
    begin: () => Promise.all(outages.map(({ begin }) => begin())),
    end: () => Promise.all(outages.map(({ end }) => end())),
  };
}
