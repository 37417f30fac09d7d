// What a run has measured, as it is kept in results/latest.json.
import type { Metric, Round } from './measure.ts';

export interface Results {
  readonly head: Head;
  readonly measured: readonly Measured[];
  /** Contenders that could not run here, and why. */
  readonly leftOut: readonly { readonly name: string; readonly why: string }[];
  /** Rounds in which something was answered that should not have been, or not at all. */
  readonly failed: readonly { readonly name: string; readonly why: string }[];
}

/** Where and how it was measured. */
export interface Head {
  readonly date: string;
  readonly machine: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly settings: readonly string[];
}

export interface Measured {
  readonly scenario: string;
  readonly contender: string;
  readonly rounds: readonly Round[];
}

/** The values of one metric, round by round, NaN where one failed; empty when it was not measured. */
export function valuesOf(results: Results, scenario: string, contender: string, metric: Metric): number[] {
  const found = results.measured.find((each) => each.scenario === scenario && each.contender === contender);
  return (found?.rounds ?? []).map((round) => round[metric] ?? Number.NaN);
}
