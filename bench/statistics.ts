// What many rounds say in one number. PURE.

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Of the rounds that have a value; NaN without any. */
export function median(values: readonly number[]): number {
  const sorted = numbersIn(values).toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? Number.NaN) + upper) / 2 : upper;
}

export function summary(values: readonly number[]): Summary {
  const numbers = numbersIn(values);
  return { median: median(numbers), min: Math.min(...numbers), max: Math.max(...numbers) };
}

/** Round by round: what disturbs a minute of the machine disturbs both, so that their ratio stays. */
export function ratios(values: readonly number[], bases: readonly number[]): number[] {
  return paired(values, bases, (value, base) => value / base);
}

export function differences(values: readonly number[], bases: readonly number[]): number[] {
  return paired(values, bases, (value, base) => value - base);
}

/**
 * How far apart two equal servers are in the median round: what is nearer to its bound than this says nothing.
 *
 * @param ratiosOfEquals of the floor to the floor, as in 1.02, 0.97
 */
export function noiseOf(ratiosOfEquals: readonly number[]): number {
  return median(ratiosOfEquals.map((ratio) => Math.abs(ratio - 1)));
}

/** The value that `part` of them, such as 0.99, do not exceed. NaN without values. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN;
}

function numbersIn(values: readonly number[]): number[] {
  return values.filter((value) => !Number.isNaN(value));
}

function paired(
  values: readonly number[],
  bases: readonly number[],
  join: (value: number, base: number) => number,
): number[] {
  const rounds = Math.min(values.length, bases.length);
  return values.slice(0, rounds).map((value, round) => join(value, bases[round] ?? Number.NaN));
}
