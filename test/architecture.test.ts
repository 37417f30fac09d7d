// The picture in ARCHITECTURE.md, held to the code: imports point one way.
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';

const SRC = join(import.meta.dirname, '../src');
const LEAVES = ['errors', 'duration', 'size'];

/** What each part may import, beside itself and the leaves. */
const ALLOWED: Record<string, string[]> = {
  errors: [],
  duration: [],
  size: [],
  policy: [],
  database: [],
  forwarding: ['policy'],
  sessions: ['policy', 'database'],
  auth: ['policy', 'database'],
  http: ['policy', 'forwarding'],
  config: ['policy', 'forwarding', 'auth'],
  readiness: ['database'],
  metrics: [],
  'load-metrics': ['forwarding'],
  gateway: [
    'policy',
    'database',
    'forwarding',
    'sessions',
    'auth',
    'http',
    'config',
    'readiness',
    'metrics',
    'load-metrics',
  ],
  workers: ['forwarding', 'http'],
  demo: ['gateway', 'config', 'http'],
  main: ['workers', 'gateway', 'config', 'database', 'demo'],
};

const files = globSync('**/*.ts', { cwd: SRC });

test.each(files)('%s imports only what its part may know', (file) => {
  const part = partOf(file);
  const allowed = [part, ...LEAVES, ...(ALLOWED[part] ?? [])];
  for (const imported of importsOf(file))
    expect(allowed, `${file} imports ${imported}`).toContain(partOf(imported));
});

test('only the process edge touches the process', () => {
  const touching = files.filter((file) =>
    /\bprocess\./.test(withoutComments(readFileSync(join(SRC, file), 'utf8'))),
  );
  expect(touching).toEqual(['main.ts']);
});

function importsOf(file: string): string[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  return [...text.matchAll(/from '(\.[^']+)'/g)].map(([, path = '']) =>
    relative(SRC, join(SRC, dirname(file), path)),
  );
}

function partOf(file: string): string {
  return (file.split('/', 1)[0] ?? '').replace(/\.ts$/, '');
}

function withoutComments(text: string): string {
  return text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, '').replace(/\/\/ .*$/gm, '');
}
