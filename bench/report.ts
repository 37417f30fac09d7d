// A run's results as Markdown. PURE.
import type { Bound } from './bounds.ts';
import { checkBounds, cpuNoise, type Verdict } from './check.ts';
import { floor } from './contenders/bare.ts';
import { gateway } from './contenders/gateway.ts';
import type { Metric } from './measure.ts';
import { type Measured, type Results, valuesOf } from './results.ts';
import { warm } from './scenarios.ts';
import { median, ratios, summary } from './statistics.ts';

/** Everything. */
export function markdown(results: Results): string {
  return [
    headOf(results),
    table(WARM_COLUMNS, warmRows(results)),
    table(OTHER_COLUMNS, otherRows(results)),
    others(results),
    table(BOUND_COLUMNS, boundRows(results)),
    missing(results),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

/** What the README shows of it. */
export function excerpt(results: Results): string {
  const { date, machine, settings } = results.head;
  return [
    `${date}, ${machine}. ${settings.join('; ')}.`,
    table(WARM_COLUMNS, warmRows(results)),
    table(BOUND_COLUMNS, boundRows(results)),
  ].join('\n\n');
}

/** For the terminal: each bound, what was measured, and the noise. */
export function verdictLines(verdicts: readonly Verdict[]): string {
  return table(BOUND_COLUMNS, verdicts.map(boundRow));
}

export const BOUND_COLUMNS = ['figure', 'at most', 'measured', 'noise ±', ''];
const WARM_COLUMNS = [
  warm.name,
  'CPU per request, µs (min–max)',
  'to the floor',
  'stores, µs',
  'requests/s',
  'p50, ms',
  'p99, ms',
];
const OTHER_COLUMNS = [
  'scenario',
  '',
  'CPU per request, µs (min–max)',
  'to warm',
  'stores, µs',
  'requests/s',
  'p50, ms',
  'p99, ms',
];

function headOf({ head }: Results): string {
  const versions = Object.entries(head.versions).map(([name, version]) => `${name} ${version}`);
  return [`${head.date}. ${head.machine}.`, `${versions.join(', ')}.`, `${head.settings.join('; ')}.`].join(
    '\n',
  );
}

function warmRows(results: Results): string[][] {
  const bases = valuesOf(results, warm.name, floor.name, 'cpuMicros');
  return results.measured
    .filter(({ scenario }) => scenario === warm.name)
    .map((measured) => [measured.contender, ...figures(measured, bases)]);
}

function otherRows(results: Results): string[][] {
  const bases = valuesOf(results, warm.name, gateway.name, 'cpuMicros');
  return results.measured
    .filter(
      ({ scenario, rounds }) =>
        scenario !== warm.name && rounds.some(({ cpuMicros }) => cpuMicros !== undefined),
    )
    .map((measured) => [measured.scenario, measured.contender, ...figures(measured, bases)]);
}

function figures({ rounds }: Measured, bases: readonly number[]): string[] {
  const values = (metric: Metric) => rounds.map((round) => round[metric] ?? Number.NaN);
  const cpu = values('cpuMicros');
  const { min, max } = summary(cpu);
  return [
    `${whole(median(cpu))} (${whole(min)}–${whole(max)})`,
    ratio(median(ratios(cpu, bases))),
    whole(median(values('storeMicros'))),
    whole(median(values('perSecond'))),
    milliseconds(median(values('p50'))),
    milliseconds(median(values('p99'))),
  ];
}

/** What is no cost of a request. */
function others({ measured }: Results): string {
  const lines = measured.flatMap(({ scenario, contender, rounds }) => {
    const values = (metric: Metric) => rounds.flatMap((round) => round[metric] ?? []);
    const [ready, bytes] = [values('readyMs'), values('bytesPerConnection')];
    if (ready.length > 0) {
      const { median: middle, min, max } = summary(ready);
      return [`- ${scenario}: ${contender} ${whole(middle)} ms (${whole(min)}–${whole(max)})`];
    }
    if (bytes.length === 0) return [];
    return [`- ${scenario}: ${contender} ${(median(bytes) / 1024).toFixed(1)} KB each, none was closed`];
  });
  return lines.join('\n');
}

function boundRows(results: Results): string[][] {
  return checkBounds(results)
    .filter(({ outcome }) => outcome !== 'not measured')
    .map(boundRow);
}

function boundRow({ bound, measured, noise, outcome }: Verdict): string[] {
  const show = (value: number) => (Number.isNaN(value) ? '–' : inMeasureOf(bound, value));
  return [bound.name, show(bound.atMost), show(measured), show(noise), outcome];
}

function inMeasureOf({ comparison }: Bound, value: number): string {
  return comparison === 'value' ? whole(value) : value.toFixed(2);
}

function missing(results: Results): string {
  const noise = cpuNoise(results);
  const lines = results.leftOut.map(({ name, why }) => `- not measured: ${name} (${why})`);
  lines.push(...results.failed.map(({ name, why }) => `- failed: ${name}: ${why}`));
  if (!Number.isNaN(noise))
    lines.push(`- the floor against itself differs by ${(noise * 100).toFixed(1)} % in the median round`);
  return lines.join('\n');
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(columns), `|${'---|'.repeat(columns.length)}`, ...rows.map(line)].join('\n');
}

function whole(value: number): string {
  return Number.isNaN(value) ? '–' : Math.round(value).toLocaleString('en');
}

function ratio(value: number): string {
  return Number.isNaN(value) ? '–' : `${value.toFixed(2)} ×`;
}

/** Autocannon counts whole ones; more digits would be made up. */
function milliseconds(value: number): string {
  if (Number.isNaN(value)) return '–';
  return Number.isInteger(value) ? String(value) : value.toFixed(2);
}
