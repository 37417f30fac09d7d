import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { charts } from '../../bench/charts.ts';
import { floor } from '../../bench/contenders/bare.ts';
import { gateway } from '../../bench/contenders/gateway.ts';
import { BEGIN, END, readResults, withExcerpt } from '../../bench/files.ts';
import { markdown } from '../../bench/report.ts';
import type { Results } from '../../bench/results.ts';
import { FULL } from '../../bench/scenario.ts';
import { idle, start, storeHit, warm } from '../../bench/scenarios.ts';

const round = (cpuMicros: number) => ({
  cpuMicros,
  storeMicros: 0.4,
  perSecond: 12_345.6,
  p50: 3,
  p99: 8.25,
});

const RESULTS: Results = {
  head: {
    date: '2026-01-01',
    machine: '8 cores',
    versions: { Node: 'v24.0.0' },
    settings: [`${FULL.connections} connections`],
  },
  measured: [
    { scenario: warm.name, contender: floor.name, rounds: [round(40), round(50), round(90)] },
    { scenario: warm.name, contender: gateway.name, rounds: [round(44), round(55), round(99)] },
    { scenario: storeHit.name, contender: gateway.name, rounds: [round(88), round(110), round(198)] },
    { scenario: start.name, contender: gateway.name, rounds: [{ readyMs: 900.4 }, { readyMs: 700 }] },
    { scenario: idle.name, contender: gateway.name, rounds: [{ bytesPerConnection: 10_240 }] },
  ],
  leftOut: [{ name: 'nginx', why: 'needs nginx' }],
  failed: [{ name: 'warm: gateway, round 2', why: '1 error' }],
};

test('the report has a row for each contender, with medians, ranges and the ratio to the floor', () => {
  const text = markdown(RESULTS);
  expect(text).toContain(`| ${gateway.name} | 55 (44–99) | 1.10 × | 0 | 12,346 | 3 | 8.25 |`);
  expect(text).toContain(`| ${storeHit.name} | ${gateway.name} | 110 (88–198) | 2.00 × |`);
  expect(text).toContain('gateway 800 ms (700–900)');
  expect(text).toContain('10.0 KB each');
  expect(text).toContain('not measured: nginx (needs nginx)');
  expect(text).toContain('| warm, against the floor | 1.15 | 1.10 | – | held |');
});

test('charts are drawn of what was measured, with every label and figure in them', async () => {
  const drawn = await charts(RESULTS);
  expect([...drawn.keys()].sort()).toEqual(['cpu.svg', 'gateway.svg', 'throughput.svg']);
  for (const text of ['CPU per request', floor.name, gateway.name, '>55<'])
    expect(drawn.get('cpu.svg')).toContain(text);
});

test('the README shows the results that are kept beside the bench', async () => {
  const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
  expect(withExcerpt(readme, await readResults())).toBe(readme);
});

test('only what stands between the two lines of the README is replaced', () => {
  expect(withExcerpt(`before\n${BEGIN}\nold\n${END}\nafter\n`, RESULTS)).toMatch(
    new RegExp(`^before\n${BEGIN}\n\n2026-01-01, 8 cores[^]*\n\n${END}\nafter\n$`),
  );
  expect(() => withExcerpt('nothing', RESULTS)).toThrow('README.md has lost its line');
});
