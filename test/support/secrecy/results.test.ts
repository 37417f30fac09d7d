import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { addUp, writeSearched } from './results.ts';

test('bytes are added up by place, stores that were away are counted, and every hit is named', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gateway-results-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const base = { file: 'a.test.ts', bytes: 0, hits: [], isUnread: false };
  const hits = [{ kind: 'session token', excerpt: 'aB3dE6gH… (32 characters)' }];
  writeSearched(folder, { ...base, place: 'log', bytes: 1000 });
  writeSearched(folder, { ...base, place: 'log', bytes: 500, hits });
  writeSearched(folder, { ...base, place: 'redis', bytes: 20 });
  writeSearched(folder, { ...base, place: 'database', isUnread: true });
  expect(addUp(folder)).toEqual({
    figures: {
      'bytes of log': 1500,
      'bytes of redis': 20,
      'bytes of database': 0,
      bytes: 1520,
      'stores not read': 1,
      hits: 1,
    },
    hits: ['session token in log: aB3dE6gH… (32 characters), by a.test.ts'],
  });
});
