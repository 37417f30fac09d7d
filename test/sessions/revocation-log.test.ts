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
