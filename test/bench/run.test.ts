import { expect, test } from 'vitest';
import { choose } from '../../bench/arguments.ts';
import { run } from '../../bench/run.ts';
import { QUICK } from '../../bench/scenario.ts';
import { SCENARIOS } from '../../bench/scenarios.ts';
import { UNHURRIED } from '../support/scale.ts';
import { childrenOf } from '../support/servers/processes.ts';

const TINY = {
  ...QUICK,
  rounds: 1,
  fewRounds: 1,
  fewestRequests: 200,
  warmUpRequests: 200,
  seconds: 0,
  downloads: 8,
};

test('a tiny run counts what requests cost the floor, and leaves no process behind', UNHURRIED, async () => {
  const asked = ['signed in: node:http', 'download 10 MB: node:http'];
  const scenarios = choose(SCENARIOS, (label) => asked.some((text) => label.includes(text)));
  const before = childrenOf(process.pid);
  const opened = new AsyncDisposableStack();
  try {
    const { measured } = await run({ sizes: TINY, scenarios, onProgress: () => {} }, opened);
    const [small, large] = measured.map(({ rounds }) => rounds[0]?.cpuMicros ?? 0);
    // From a few microseconds to half a second, however busy the machine is; 10 MB cost more than 1 KB.
    expect(small).toBeGreaterThan(5);
    expect(large).toBeLessThan(500_000);
    expect(large).toBeGreaterThan(small ?? 0);
  } finally {
    await opened.disposeAsync();
  }
  expect(childrenOf(process.pid).filter((pid) => !before.includes(pid))).toEqual([]);
});
