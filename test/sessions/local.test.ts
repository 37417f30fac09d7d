import { expect, test } from 'vitest';
import type { Session } from '../../src/policy/session.ts';
import { createLocalTier } from '../../src/sessions/local.ts';
import { createRevocationLog } from '../../src/sessions/revocation-log.ts';

function tier({ mostEntries = 100, freshMs = 1000, staleIfErrorMs = 10_000 } = {}) {
  const log = createRevocationLog();
  const time = { now: 0 };
  const local = createLocalTier({
    log,
    freshMs: () => freshMs,
    staleIfErrorMs,
    mostEntries,
    clock: () => time.now,
  });
  return { log, time, local };
}

const found = (userId: string) =>
  ({ outcome: 'found', tier: 'store', session: { userId, impersonatedBy: null } as Session }) as const;

test('an answer is fresh, then only good for an outage, then gone', () => {
  const { log, time, local } = tier();
  local.keep('cookie', ['hash', 'user'], found('user'), log.now());
  const seen = [0, 999, 1000, 9999, 10_000].map((now) => {
    time.now = now;
    return [local.fresh('cookie') !== null, local.stale('cookie') !== null];
  });
  expect(seen).toEqual([
    [true, true],
    [true, true],
    [false, true],
    [false, true],
    [false, false],
  ]);
});

test.each(['hash', 'user'])('a revocation of the %s ends it, for outages too', (key) => {
  const { log, local } = tier();
  local.keep('cookie', ['hash', 'user'], found('user'), log.now());
  log.note(key);
  expect([local.fresh('cookie'), local.stale('cookie')]).toEqual([null, null]);
});

test('after a gap it is good only for an outage', () => {
  const { log, local } = tier();
  local.keep('cookie', ['hash', 'user'], found('user'), log.now());
  log.noteGap();
  expect([local.fresh('cookie'), local.stale('cookie')]).toEqual(
    [null, found('user')].map((a) => a && { ...a, tier: 'local' }),
  );
});

test('an answer asked for before a revocation is not kept after it', () => {
  const { log, local } = tier();
  const since = log.now();
  log.note('user');
  local.keep('cookie', ['hash', 'user'], found('user'), since);
  expect(local.size).toBe(0);
});

test('it holds no more entries than it may', () => {
  const { log, local } = tier({ mostEntries: 3 });
  for (let at = 0; at < 10; at++) local.keep(`c${at}`, [`h${at}`], found(`u${at}`), log.now());
  expect(local.size).toBe(3);
});
