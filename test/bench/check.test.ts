import { expect, test } from 'vitest';
import { BOUNDS, type Bound, EQUALS } from '../../bench/bounds.ts';
import { checkBounds } from '../../bench/check.ts';
import type { Results } from '../../bench/results.ts';
import { SCENARIOS } from '../../bench/scenarios.ts';

const [AGAIN, FLOOR] = EQUALS.cpuMicros;
const OURS = { scenario: FLOOR.scenario, contender: 'ours' };
const RATIO: Bound = {
  name: 'ours against the floor',
  of: OURS,
  to: FLOOR,
  metric: 'cpuMicros',
  comparison: 'ratio',
  atMost: 1.15,
};

function results(cpu: { ours: number[]; floor: number[]; again?: number[] }): Results {
  const rounds = (values: readonly number[] = []) => values.map((cpuMicros) => ({ cpuMicros }));
  return {
    head: { date: '2026-01-01', machine: '', versions: {}, settings: [] },
    measured: [
      { ...OURS, rounds: rounds(cpu.ours) },
      { ...FLOOR, rounds: rounds(cpu.floor) },
      { ...AGAIN, rounds: rounds(cpu.again) },
    ],
    leftOut: [],
    failed: [],
  };
}

test.each([
  { ours: [57], floor: [50], again: [50], outcome: 'held' },
  { ours: [58], floor: [50], again: [50], outcome: 'missed' },
  { ours: [58], floor: [50], again: [51], outcome: 'within the noise' },
  { ours: [90], floor: [50], again: [51], outcome: 'missed' },
  { ours: [], floor: [50], again: [50], outcome: 'not measured' },
  { ours: [58], floor: [50], again: [], outcome: 'missed' },
  // A round that failed takes its counterpart with it.
  { ours: [Number.NaN, 55], floor: [1, 50], again: [1, 50], outcome: 'held' },
  // A single bad round decides nothing.
  { ours: [50, 50, 500], floor: [50, 50, 50], again: [50, 50, 50], outcome: 'held' },
])('$ours against $floor, with the floor again at $again, is $outcome', ({ outcome, ...cpu }) => {
  expect(checkBounds(results(cpu), [RATIO])).toMatchObject([{ outcome }]);
});

test('a difference is held against what two equal servers differ by', () => {
  const [again, floor] = EQUALS.latency;
  const ours = { ...floor, contender: 'ours' };
  const bound: Bound = {
    ...RATIO,
    of: ours,
    to: floor,
    metric: 'p50',
    comparison: 'difference',
    atMost: 0.1,
  };
  const outcomeOf = (p50: { ours: number; floor: number; again: number }) =>
    checkBounds(
      {
        ...results({ ours: [], floor: [] }),
        measured: [
          { ...ours, rounds: [{ p50: p50.ours }] },
          { ...floor, rounds: [{ p50: p50.floor }] },
          { ...again, rounds: [{ p50: p50.again }] },
        ],
      },
      [bound],
    )[0]?.outcome;
  expect(outcomeOf({ ours: 0.5, floor: 0.45, again: 0.45 })).toBe('held');
  expect(outcomeOf({ ours: 0.6, floor: 0.45, again: 0.55 })).toBe('within the noise');
  expect(outcomeOf({ ours: 0.6, floor: 0.45, again: 0.46 })).toBe('missed');
});

test('every bound is about a contender that is measured in its scenario', () => {
  const places = new Set(
    SCENARIOS.flatMap(({ name, contenders }) => contenders.map((each) => `${name}: ${each.name}`)),
  );
  for (const { of, to } of BOUNDS)
    for (const place of [of, to ?? of]) expect(places).toContain(`${place.scenario}: ${place.contender}`);
});
