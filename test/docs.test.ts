// Documentation that can lie is tested.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { VARIABLES } from '../src/config/environment.ts';
import { configJsonSchema } from '../src/config/schema.ts';
import { ERRORS } from '../src/errors.ts';
import { DURATION_BOUNDS, RouteTraffic } from '../src/http/traffic.ts';
import { registerOverloadMetrics, registerUpstreamMetrics } from '../src/load-metrics.ts';
import { createMetrics } from '../src/metrics.ts';
import { AUTH_ENDPOINTS } from '../src/policy/own-paths.ts';
import { ownMetrics } from '../src/workers/operate.ts';
import { metricsText } from '../src/workers/readings.ts';

const root = join(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const section = (title: string) =>
  readme.split(new RegExp(`^#{2,3} ${title}$`, 'm'))[1]?.split(/^#{2,3} /m, 1)[0] ?? '';

test('the error table of the README is the error table of the code', () => {
  const rows = [...section('Errors').matchAll(/^\| `([a-z-]+)` \| (\d+)/gm)].map(([, code, status]) => [
    code,
    Number(status),
  ]);
  expect(Object.fromEntries(rows)).toEqual(
    Object.fromEntries(Object.entries(ERRORS).map(([code, { status }]) => [code, status])),
  );
});

test('the README names every environment variable, and marks the ones that may come from a file', () => {
  const cells = [...section('Environment').matchAll(/^\| ([^|]+) \|/gm)].map(([, cell = '']) => cell);
  const named = cells.flatMap((cell) =>
    [...cell.matchAll(/`([A-Z_]+)`( \*)?/g)].map(([, name, star]) => [name, Boolean(star)]),
  );
  const expected = Object.entries(VARIABLES).map(([name, { secret }]) => [name, secret]);
  expect(Object.fromEntries(named)).toEqual(Object.fromEntries(expected));
});

test('the README names every setting of upstreams, routes and the file itself', () => {
  const schema = configJsonSchema() as unknown as Shape;
  const upstream = schema.properties.upstreams?.additionalProperties?.properties ?? {};
  const route = schema.properties.routes?.items?.properties ?? {};
  const text = section('Configure it');
  for (const name of [...Object.keys(upstream), ...Object.keys(route)])
    expect(text).toMatch(new RegExp(`[.]${name}\``));
  for (const name of Object.keys(schema.properties)) expect(text).toContain(`\`${name}`);
});

test('the README names every endpoint of Better Auth that is served', () => {
  for (const path of Object.keys(AUTH_ENDPOINTS)) expect(section('Endpoints')).toContain(path.slice(1));
});

test('the README names every metric and its labels, and none that is not there', async () => {
  const rows = [...section('Metrics').matchAll(/^\| `(gateway_[a-z_]+)` \|([^|]*)\|/gm)].map(
    ([, name, labels = '']) => [name, [...labels.matchAll(/`([a-z]+)`/g)].map(([, label]) => label)],
  );
  expect(Object.fromEntries(rows)).toEqual(await metricLabels());
});

/** As they are told of a gateway that has had one of everything. */
async function metricLabels(): Promise<Record<string, string[]>> {
  const route = new RouteTraffic('/x');
  route.answered('GET', 200, 1);
  const metrics = createMetrics({
    states: ['x'],
    tokenRefreshes: () => [['x', 1]],
    localSessions: () => 0,
    lookups: () => [{ tier: 'local', result: 'found', count: 1 }],
    traffic: { inFlight: 0, routes: () => [route] },
    durationBounds: DURATION_BOUNDS,
  });
  const target = { target: 'x', state: 'up', inFlight: 0, openConnections: 0, idleConnections: 0 } as const;
  registerUpstreamMetrics(metrics.registry, () => [
    { name: 'x', waiting: 0, refused: 0, retries: 0, targets: [{ ...target, failures: 0, ejections: 0 }] },
  ]);
  registerOverloadMetrics(metrics.registry, { isOverloaded: false, refused: 0, delayMs: 0 });
  const own = ownMetrics({ workers: [], replaced: 0 });
  const text = (await metrics.text()) + (await metricsText([own]));
  const labelsOf = (name: string) => {
    const [, labels = ''] = new RegExp(`^${name}(?:_count)?(?:\\{(.*)\\})? `, 'm').exec(text) ?? [];
    return [...labels.matchAll(/([a-z]+)="/g)].map(([, label = '']) => label);
  };
  return Object.fromEntries(
    [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => [name, labelsOf(name)]),
  );
}

test('the README names every npm script that people run, and none that is not there', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const named = new Set(
    [...readme.matchAll(/npm (?:run (?:-s )?)?(start|test|[a-z]+(?::[a-z]+)?)\b/g)].map(
      ([, name = '']) => name,
    ),
  );
  named.delete('ci');
  named.delete('run');
  expect([...named].filter((name) => !(name in scripts))).toEqual([]);
});

interface Shape {
  properties: Record<string, Shape | undefined>;
  additionalProperties?: Shape;
  items?: Shape;
}
