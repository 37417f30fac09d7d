import { expect, onTestFinished, test } from 'vitest';
import type { Target } from '../../src/forwarding/target.ts';
import { createUpstream } from '../../src/forwarding/upstream.ts';
import { upstreamSchema } from '../../src/forwarding/upstream-options.ts';

/** Two targets that nobody connects to: what becomes of requests is said by the test. */
function startTargets(settings: Record<string, unknown>) {
  const told: string[] = [];
  const options = upstreamSchema.parse({
    targets: ['http://127.0.0.1:1', 'http://127.0.0.1:2'],
    ...settings,
  });
  const upstream = createUpstream('hub', options, { onChange: ({ state }) => told.push(state) });
  onTestFinished(() => upstream.close());
  const [first, second] = upstream.targets as [Target, Target];
  return { upstream, first, second, told };
}

function fail(target: Target): void {
  target.take();
  target.failed();
  target.release();
}

/** Milliseconds until the next request may go there. */
async function untilAvailable(target: Target): Promise<number> {
  const startedAt = performance.now();
  while (!target.isAvailable) await new Promise((resolve) => setTimeout(resolve, 1));
  return performance.now() - startedAt;
}

test('each failed trial doubles the time out of turn, up to the longest', async () => {
  const { first, told } = startTargets({ ejection: { failures: 1, time: '50ms', maxTime: '150ms' } });
  for (const ms of [50, 100, 150, 150]) {
    fail(first);
    expect(first.state).toBe('ejected');
    expect(await untilAvailable(first)).toBeGreaterThan(ms - 5);
    expect(first.state).toBe('trial');
  }
  expect(first.ejections).toBe(4);
  first.take();
  first.answered();
  first.release();
  expect([first.state, ...told]).toEqual(['up', 'ejected', 'up']);
});

test('a target that is back and fails again soon is out for longer; after a good while it begins anew', async () => {
  const { first } = startTargets({ ejection: { failures: 1, time: '50ms', maxTime: '150ms' } });
  const recover = async () => {
    const ms = await untilAvailable(first);
    first.take();
    first.answered();
    first.release();
    return ms;
  };
  fail(first);
  await recover();
  fail(first);
  expect(await recover()).toBeGreaterThan(95);
  await new Promise((resolve) => setTimeout(resolve, 160));
  fail(first);
  const early = new Promise((resolve) => setTimeout(() => resolve(first.isAvailable), 95));
  expect(await early).toBe(true);
});

test('a trial is one request at a time; one that ends without a word is followed by another', async () => {
  const { first } = startTargets({ ejection: { failures: 1, time: '20ms' } });
  fail(first);
  await untilAvailable(first);
  first.take();
  expect(first.isAvailable).toBe(false);
  first.release();
  expect(first.isAvailable).toBe(true);
});

test('failures count in a row only, and the last target that is left is not ejected', () => {
  const { first, second } = startTargets({ ejection: { failures: 3 } });
  for (let round = 0; round < 5; round++) {
    fail(first);
    fail(first);
    first.answered();
  }
  expect(first.state).toBe('up');
  for (let sent = 0; sent < 3; sent++) fail(first);
  for (let sent = 0; sent < 9; sent++) fail(second);
  expect([first.state, second.state]).toEqual(['ejected', 'up']);
});

test('checks that pass again end an ejection, and nothing else about checks does', () => {
  const { first } = startTargets({ ejection: { failures: 1, time: '1h', maxTime: '1h' } });
  fail(first);
  first.isHealthy = true;
  expect(first.state).toBe('ejected');
  first.isHealthy = false;
  expect(first.state).toBe('unhealthy');
  first.isHealthy = true;
  expect(first.state).toBe('up');
});
