import { defineConfig } from 'vitest/config';
import { scale } from './test/support/scale.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    environment: 'node',
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: scale({ quick: 60_000, full: 600_000 }),
    hookTimeout: 120_000,
    // The machine may have more to do than this test.
    expect: { poll: { timeout: 20_000 } },
    // Vitest prints the seed; `--sequence.seed=N` repeats an order.
    sequence: { shuffle: true },
    globalSetup: './test/support/global-setup.ts',
    reporters: ['default', './test/support/summary-reporter.ts'],
  },
});
