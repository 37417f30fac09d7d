// Are the bounds held? A figure that misses its bound by less than the noise of the machine is not called missed. PURE.
import { BOUNDS, type Bound, EQUALS, type Place } from './bounds.ts';
import type { Metric } from './measure.ts';
import { type Results, valuesOf } from './results.ts';
import { differences, median, noiseOf, ratios } from './statistics.ts';

export interface Verdict {
  readonly bound: Bound;
  /** Median of the rounds; NaN when it was not measured. */
  readonly measured: number;
  /** How much of the figure may be noise, in the figure's own measure. */
  readonly noise: number;
  readonly outcome: 'held' | 'within the noise' | 'missed' | 'not measured';
}

export function checkBounds(results: Results, bounds: readonly Bound[] = BOUNDS): Verdict[] {
  return bounds.map((bound) => verdictOn(results, bound));
}

function verdictOn(results: Results, bound: Bound): Verdict {
  const measured = median(figuresOf(results, bound));
  const noise = noiseIn(results, bound, measured);
  return { bound, measured, noise, outcome: outcomeOf(measured, bound.atMost, noise) };
}

function outcomeOf(measured: number, atMost: number, noise: number): Verdict['outcome'] {
  if (Number.isNaN(measured)) return 'not measured';
  if (measured <= atMost) return 'held';
  // Noise that was not measured excuses nothing.
  return measured - (noise || 0) <= atMost ? 'within the noise' : 'missed';
}

function figuresOf(results: Results, { of, to, metric, comparison }: Bound): number[] {
  const values = valuesAt(results, of, metric);
  if (to === undefined) return values;
  const bases = valuesAt(results, to, metric);
  return comparison === 'ratio' ? ratios(values, bases) : differences(values, bases);
}

/** Of a ratio so many parts of it; of a difference what two equal servers differ by. */
function noiseIn(results: Results, { metric, comparison }: Bound, measured: number): number {
  if (comparison === 'value') return 0;
  if (comparison === 'ratio') return cpuNoise(results) * measured;
  const [again, floor] = EQUALS.latency;
  const apart = differences(valuesAt(results, again, metric), valuesAt(results, floor, metric));
  return median(apart.map(Math.abs));
}

/** The share by which the CPU of two equal servers differs in the median round; NaN when it was not measured. */
export function cpuNoise(results: Results): number {
  const [again, floor] = EQUALS.cpuMicros;
  return noiseOf(ratios(valuesAt(results, again, 'cpuMicros'), valuesAt(results, floor, 'cpuMicros')));
}

function valuesAt(results: Results, { scenario, contender }: Place, metric: Metric): number[] {
  return valuesOf(results, scenario, contender, metric);
}
