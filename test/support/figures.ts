// Figures a test has measured: said in its meta data, printed at the end of every run, written to test/figures.json
// by `npm run test:full`.
import type { TestContext } from 'vitest';

export type Figures = Readonly<Record<string, number | string>>;

declare module 'vitest' {
  interface TaskMeta {
    figures?: Record<string, number | string>;
  }
}

/**
 * Adds to what the running test reports. A label of two parts, such as `bad paths: bypasses`, belongs to a total: numbers
 * under it are added up over all tests. Any other label is the test's own.
 */
export function report({ task }: Pick<TestContext, 'task'>, figures: Figures): void {
  task.meta.figures = { ...task.meta.figures, ...figures };
}

export interface Measured {
  /** The test's full name. */
  readonly test: string;
  readonly figures: Figures;
}

/** What a run has measured, in lines for people: each test's own figures first, the totals last. */
export function figureLines(measured: readonly Measured[]): string[] {
  const own = measured.flatMap(({ test, figures }) => {
    const list = Object.entries(figures).filter(([label]) => subjectOf(label) === null);
    return list.length === 0 ? [] : [`  ${test}: ${list.map(([label, n]) => `${label} ${n}`).join(', ')}`];
  });
  const totals = [...totalsOf(measured)].map(([subject, counts]) => {
    const list = [...counts].map(([label, n]) => `${label} ${grouped(n)}`);
    return `  ${subject}: ${list.join(', ')}`;
  });
  return [
    ...(own.length > 0 ? ['Figures of single tests', ...own.sort()] : []),
    ...(totals.length > 0 ? ['Totals', ...totals.sort()] : []),
  ];
}

function totalsOf(measured: readonly Measured[]): Map<string, Map<string, number>> {
  const totals = new Map<string, Map<string, number>>();
  for (const { figures } of measured)
    for (const [label, value] of Object.entries(figures)) {
      const subject = subjectOf(label);
      if (subject === null) continue;
      const counts = totals.get(subject) ?? new Map<string, number>();
      const name = label.slice(subject.length + SEPARATOR.length);
      totals.set(subject, counts.set(name, (counts.get(name) ?? 0) + Number(value)));
    }
  return totals;
}

const SEPARATOR = ': ';

function subjectOf(label: string): string | null {
  const at = label.indexOf(SEPARATOR);
  return at === -1 ? null : label.slice(0, at);
}

/** 1234567 as 1,234,567. */
function grouped(n: number): string {
  return n.toLocaleString('en-US');
}
