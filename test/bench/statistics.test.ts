import { expect, test } from 'vitest';
import { differences, median, noiseOf, percentile, ratios, summary } from '../../bench/statistics.ts';

test.each([
  { values: [3, 1, 2], middle: 2 },
  { values: [4, 1, 2, 3], middle: 2.5 },
  { values: [7], middle: 7 },
  { values: [], middle: Number.NaN },
])('the median of $values is $middle', ({ values, middle }) => {
  expect(median(values)).toBe(middle);
});

test('a summary is the median between the least and the most', () => {
  expect(summary([10, 2, 10, 3, 900])).toEqual({ median: 10, min: 2, max: 900 });
});

test('ratios and differences are taken round by round, of rounds that both have', () => {
  expect(ratios([2, 9, 5], [1, 3])).toEqual([2, 3]);
  expect(differences([2, 9], [1, 3, 8])).toEqual([1, 6]);
});

test('a busy round disturbs both of a pair, and leaves their ratio', () => {
  const [quiet, busy] = [1, 10];
  expect(median(ratios([60 * quiet, 60 * busy, 66 * quiet], [50 * quiet, 50 * busy, 55 * quiet]))).toBe(1.2);
});

test('noise is how far equals are apart in the median round, whichever is ahead', () => {
  expect(noiseOf([1.02, 0.95, 1])).toBeCloseTo(0.02);
});

test.each([
  { part: 0.5, value: 50 },
  { part: 0.99, value: 99 },
  { part: 1, value: 100 },
  { part: 0, value: 1 },
])('the $part percentile of 1 to 100 is $value', ({ part, value }) => {
  expect(
    percentile(
      Array.from({ length: 100 }, (_, at) => 100 - at),
      part,
    ),
  ).toBe(value);
});
