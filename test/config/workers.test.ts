// How many processes serve: the file, the environment before it, and what the store allows.
import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { faultsOf, loadText, SMALLEST } from './config-folder.ts';

const POSTGRES = { DATABASE_URL: 'postgres://127.0.0.1/gateway' };
const withWorkers = (workers: string) => `${SMALLEST}\nserver: { workers: ${workers} }\n`;

test.each([
  ['1', {}, 1],
  ['auto', {}, 1],
  ['3', POSTGRES, 3],
  ['auto', POSTGRES, availableParallelism()],
  ['3', { ...POSTGRES, WORKERS: '2' }, 2],
  ['3', { WORKERS: '1' }, 1],
  ['1', { ...POSTGRES, WORKERS: 'auto' }, availableParallelism()],
])('workers: %s, with %j, are %i', (workers, env, count) => {
  expect(loadText(withWorkers(workers), env).workers).toBe(count);
});

test.each([
  ['2', {}, 'server.workers'],
  ['1', { WORKERS: '2' }, 'environment WORKERS'],
])('the embedded file refuses more than one process: workers: %s, with %j', (workers, env, place) => {
  expect(faultsOf(withWorkers(workers), env)).toEqual([
    { place, message: expect.stringContaining('DATABASE_URL') },
  ]);
});

test.each(['0', '-1', '1.5', '257', 'many', '[]'])('workers: %s is a fault', (workers) => {
  expect(() => loadText(withWorkers(workers))).toThrow('server.workers: ');
});
