import { expect, test } from 'vitest';
import { createRevocationLog } from '../../src/sessions/revocation-log.ts';

test('what was learned before a revocation is revoked, what is learned after it is not', () => {
  const log = createRevocationLog();
  const before = log.now();
  log.note('a');
  const after = log.now();
  expect([log.isRevoked(before, ['a']), log.isRevoked(after, ['a'])]).toEqual([true, false]);
});

test('one of several keys is enough, and other keys are untouched', () => {
  const log = createRevocationLog();
  const before = log.now();
  log.note('b');
  expect([log.isRevoked(before, ['a', 'b']), log.isRevoked(before, ['a', 'c'])]).toEqual([true, false]);
});

test('"everything" revokes every key, also those never noted', () => {
  const log = createRevocationLog();
  const before = log.now();
  log.noteAll();
  expect([log.isRevoked(before, ['x']), log.isRevoked(log.now(), ['x'])]).toEqual([true, false]);
});

test('a full log forgets no revocation: it says "everything" instead', () => {
  const log = createRevocationLog({ mostKeys: 10 });
  const before = log.now();
  for (let at = 0; at < 11; at++) log.note(`k${at}`);
  expect(log.isRevoked(before, ['k0'])).toBe(true);
  expect(log.isRevoked(before, ['never noted'])).toBe(true);
});

test('a gap revokes nothing, but puts what was learned before it in doubt, and nothing after it', () => {
  const log = createRevocationLog();
  const before = log.now();
  log.noteGap();
  expect([log.isRevoked(before, ['a']), log.isDoubtful(before, ['a'])]).toEqual([false, true]);
  expect(log.isDoubtful(log.now(), ['a'])).toBe(false);
});

test('what is noted, or everything, is in doubt, too', () => {
  const log = createRevocationLog();
  const before = log.now();
  log.note('a');
  expect([log.isDoubtful(before, ['a']), log.isDoubtful(before, ['b'])]).toEqual([true, false]);
  log.noteAll();
  expect(log.isDoubtful(before, ['b'])).toBe(true);
});

test('by the clock, both a gap and a note put older knowledge in doubt', () => {
  let now = 1000;
  const log = createRevocationLog({ clock: () => now });
  now = 2000;
  log.noteGap();
  now = 3000;
  log.note('a');
  const at = (time: number, key: string) => log.isDoubtfulAfter(time, [key]);
  expect([at(1500, 'b'), at(2500, 'b'), at(2500, 'a'), at(3500, 'a')]).toEqual([true, false, true, false]);
});
