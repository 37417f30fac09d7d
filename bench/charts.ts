// A run's results as pictures: vega-lite specifications, drawn to SVG.
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import { gateway } from './contenders/gateway.ts';
import type { Metric } from './measure.ts';
import type { Measured, Results } from './results.ts';
import { latency, warm } from './scenarios.ts';
import { median, summary } from './statistics.ts';

/** File names and pictures; those of which nothing was measured are left out. */
export async function charts(results: Results): Promise<Map<string, string>> {
  const specs: [string, TopLevelSpec | null][] = [
    ['cpu.svg', cpuByContender(results)],
    ['throughput.svg', throughput(results)],
    ['gateway.svg', cpuByScenario(results)],
    ['latency.svg', latencyAtHalfLoad(results)],
  ];
  const drawn = new Map<string, string>();
  for (const [name, spec] of specs) if (spec) drawn.set(name, await draw(spec));
  return drawn;
}

async function draw(spec: TopLevelSpec): Promise<string> {
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  return view.toSVG();
}

interface Bar {
  readonly label: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly isOurs: boolean;
}

function cpuByContender(results: Results): TopLevelSpec | null {
  const rows = results.measured.filter(({ scenario }) => scenario === warm.name);
  return bars(
    barsOf(rows, 'cpuMicros', ({ contender }) => contender),
    `CPU per request: ${warm.name}`,
    'µs of CPU per request, median; the line is min to max. Less is better.',
  );
}

function throughput(results: Results): TopLevelSpec | null {
  const rows = results.measured.filter(({ scenario }) => scenario === warm.name);
  return bars(
    barsOf(rows, 'perSecond', ({ contender }) => contender),
    `Requests per second on one core: ${warm.name}`,
    'median; the line is min to max. More is better. Who costs least is held back by load and upstream.',
    'descending',
  );
}

/** Downloads are another order of magnitude: they would hide everything else. */
const TOO_LONG = /download/;

function cpuByScenario(results: Results): TopLevelSpec | null {
  const rows = results.measured.filter(
    ({ scenario, contender }) =>
      contender.startsWith('gateway') && !TOO_LONG.test(scenario) && scenario !== latency.name,
  );
  const isAmbiguous = (name: string) => rows.filter(({ scenario }) => scenario === name).length > 1;
  const label = ({ scenario, contender }: Measured) =>
    contender !== gateway.name && isAmbiguous(scenario)
      ? `${scenario} (${contender.replace(/^gateway,? ?/, '')})`
      : scenario;
  return bars(
    barsOf(rows, 'cpuMicros', label),
    'CPU per request: the gateway in every scenario',
    'µs of CPU per request or message, median; the line is min to max. Less is better.',
  );
}

function latencyAtHalfLoad(results: Results): TopLevelSpec | null {
  const rows = results.measured.filter(({ scenario }) => scenario === latency.name);
  const values = rows.flatMap((row) =>
    (['p50', 'p99'] as const).map((metric) => ({
      contender: row.contender,
      metric,
      value: median(valuesIn(row, metric)),
    })),
  );
  if (values.length === 0) return null;
  const y = { field: 'contender', type: 'nominal', sort: null, title: null, axis: LABELS } as const;
  const yOffset = { field: 'metric', type: 'nominal' } as const;
  const x = {
    field: 'value',
    type: 'quantitative',
    title: 'ms, median of the rounds. Less is better.',
  } as const;
  return {
    ...frame('Latency at half load'),
    data: { values },
    layer: [
      {
        mark: { type: 'bar' },
        encoding: {
          ...{ y, yOffset, x },
          color: { field: 'metric', type: 'nominal', title: null, scale: { range: ['#7aa6c2', '#1f4e79'] } },
        },
      },
      {
        mark: { type: 'text', align: 'left', dx: 5 },
        encoding: { y, yOffset, x, text: { field: 'value', type: 'quantitative', format: '.2f' } },
      },
    ],
  };
}

function barsOf(rows: readonly Measured[], metric: Metric, label: (row: Measured) => string): Bar[] {
  return rows.flatMap((row) => {
    const values = valuesIn(row, metric);
    if (values.length === 0) return [];
    const { median: value, min, max } = summary(values);
    return [{ label: label(row), value, min, max, isOurs: row.contender.startsWith('gateway') }];
  });
}

function valuesIn({ rounds }: Measured, metric: Metric): number[] {
  return rounds.flatMap((round) => round[metric] ?? []);
}

const LABELS = { labelLimit: 0, ticks: false, domain: false, labelPadding: 8 };

function frame(title: string) {
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: { text: title, anchor: 'start', fontSize: 15, offset: 12 },
    width: 520,
    background: 'white',
    padding: 16,
    config: {
      font: 'system-ui, sans-serif',
      axis: { labelFontSize: 12, titleFontSize: 12 },
      view: { stroke: null },
    },
  } as const;
}

function bars(
  values: Bar[],
  title: string,
  axisTitle: string,
  order: 'ascending' | 'descending' = 'ascending',
): TopLevelSpec | null {
  if (values.length === 0) return null;
  const y = {
    field: 'label',
    type: 'nominal',
    sort: null,
    title: null,
    axis: LABELS,
  } as const;
  const x = (field: keyof Bar) => ({ field, type: 'quantitative', title: axisTitle }) as const;
  return {
    ...frame(title),
    height: { step: 26 },
    data: {
      values: values.toSorted((a, b) => (order === 'ascending' ? a.value - b.value : b.value - a.value)),
    },
    layer: [
      {
        mark: { type: 'bar', height: 16 },
        encoding: {
          ...{ y, x: x('value') },
          color: {
            condition: { test: 'datum.isOurs', value: '#4fae7b' },
            value: '#9db4c0',
          },
        },
      },
      {
        mark: { type: 'rule', color: '#222', strokeWidth: 1.5 },
        encoding: { y, x: x('min'), x2: { field: 'max' } },
      },
      {
        mark: { type: 'text', align: 'left', dx: 6, fontSize: 12 },
        encoding: { y, x: x('max'), text: { field: 'value', type: 'quantitative', format: ',.0f' } },
      },
    ],
  };
}
