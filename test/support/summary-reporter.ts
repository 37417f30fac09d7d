import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestModule } from 'vitest/node';

import { type Figures, figureLines, type Measured } from './figures.ts';
import { isFullRun } from './scale.ts';

const FILE = new URL('../figures.json', import.meta.url);

type Counts = { passed: number; failed: number; skipped: number };

/**
 * Prints what was measured, then `N passed, N failed` as the very last line, with `, N skipped` when some were.
 * Whatever makes the run fail counts as failed: a test, a suite's hook, a file that does not load, an unhandled error.
 */
export default class SummaryReporter implements Reporter {
  #counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  #measured: readonly Measured[] = [];

  onInit(): void {
    // Everything else is printed by then, and the exit code is known.
    process.on('exit', (code) => {
      const lines = [...figureLines(this.#measured), summaryLine(this.#counts, code)];
      process.stdout.write(`${lines.join('\n')}\n`);
    });
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const counts = { passed: 0, failed: unhandled.length, skipped: 0 };
    for (const module of modules) addModule(counts, module);
    this.#counts = counts;
    this.#measured = modules.flatMap(measuredIn);
    if (isFullRun) writeFigures(this.#measured);
  }
}

function addModule(counts: Counts, module: TestModule): void {
  if (module.errors().length > 0) counts.failed++;
  for (const suite of module.children.allSuites()) {
    if (suite.errors().length > 0) counts.failed++;
  }
  for (const test of module.children.allTests()) {
    const { state } = test.result();
    if (state !== 'pending') counts[state]++;
  }
}

/** A run that fails for a reason no test knows (its setup, an interruption) never reads `0 failed`. */
export function summaryLine({ passed, failed, skipped }: Counts, exitCode: number): string {
  const failures = exitCode === 0 ? failed : Math.max(failed, 1);
  return `${passed} passed, ${failures} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

function measuredIn(module: TestModule): Measured[] {
  return [...module.children.allTests()].flatMap((test) => {
    const { figures } = test.meta();
    return figures ? [{ test: test.fullName, figures }] : [];
  });
}

/** What tests have measured, by the test's full name: the figures of `npm run test:full`. */
function writeFigures(measured: readonly Measured[]): void {
  const figures = Object.fromEntries(measured.map((each) => [each.test, each.figures]));
  writeFileSync(FILE, `${JSON.stringify(figures, null, 2)}\n`);
}

/** What the run as a whole has measured, once its tests have written theirs. */
export function addFigures(name: string, figures: Figures): void {
  const written = existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : {};
  writeFileSync(FILE, `${JSON.stringify({ ...written, [name]: figures }, null, 2)}\n`);
}
