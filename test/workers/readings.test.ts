import { Counter, Gauge, Registry } from '@prometheus-io/client';
import { expect, test } from 'vitest';
import {
  addCounts,
  joinReadiness,
  joinUpstreams,
  type MetricReading,
  metricsText,
} from '../../src/workers/readings.ts';

/** What a worker reads that has counted so many requests, and has a state on or off. */
async function readingOf(requests: number, isDegraded: boolean): Promise<MetricReading[]> {
  const registry = new Registry();
  const registers = [registry];
  new Counter({ name: 'requests_total', help: 'x', labelNames: ['code'], registers }).inc(
    { code: '200' },
    requests,
  );
  new Gauge({ name: 'degraded', help: 'x', aggregator: 'max', registers }).set(isDegraded ? 1 : 0);
  // As it comes over the channel between processes.
  return JSON.parse(JSON.stringify(await registry.getMetricsAsJSON()));
}

test('counters are added up, states are on when one is on', async () => {
  const text = await metricsText([await readingOf(2, false), await readingOf(3, true)]);
  expect(text).toContain('requests_total{code="200"} 5');
  expect(text).toMatch(/^degraded 1$/m);
});

test('what workers that are gone have counted stays counted, and nothing else of them', async () => {
  const gone = await addCounts(await addCounts([], await readingOf(2, true)), await readingOf(3, true));
  const text = await metricsText([await readingOf(10, false), gone]);
  expect(text).toContain('requests_total{code="200"} 15');
  expect(text).toMatch(/^degraded 0$/m);
});

test('what one worker lacks, the gateway lacks', () => {
  const joined = joinReadiness([
    { database: 'ok', redis: 'does not answer' },
    { database: 'does not answer', redis: 'ok' },
    { database: 'ok', redis: 'ok' },
  ]);
  expect(joined).toEqual({ database: 'does not answer', redis: 'does not answer' });
});

test('a target is up when it is for every worker; its counts are added up', () => {
  const target = {
    target: 'http://a',
    inFlight: 1,
    openConnections: 2,
    idleConnections: 1,
    failures: 3,
    ejections: 1,
  };
  const report = (state: 'up' | 'ejected') => [
    { name: 'hub', waiting: 1, refused: 2, retries: 3, targets: [{ ...target, state }] },
  ];
  expect(joinUpstreams([report('up'), report('ejected'), report('up')])).toEqual([
    {
      ...{ name: 'hub', waiting: 3, refused: 6, retries: 9 },
      targets: [
        {
          ...{ target: 'http://a', state: 'ejected', inFlight: 3, openConnections: 6 },
          ...{ idleConnections: 3, failures: 9, ejections: 3 },
        },
      ],
    },
  ]);
});
