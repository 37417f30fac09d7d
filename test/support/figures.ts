// Figures a test has measured: said in its meta data, written to test/figures.json by `npm run test:full`.
import type { TestContext } from 'vitest';

declare module 'vitest' {
  interface TaskMeta {
    figures?: Record<string, number | string>;
  }
}

/** Adds to what the running test reports. */
export function report({ task }: Pick<TestContext, 'task'>, figures: Record<string, number | string>): void {
  task.meta.figures = { ...task.meta.figures, ...figures };
}
