// What reaches stdout, and how: by a process of its own.
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const LINES = fileURLToPath(new URL('../support/fixtures/log-lines.ts', import.meta.url));

test('lines reach stdout in their order, and none is lost or broken', async () => {
  const child = spawn(process.execPath, [LINES], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = (await text(child.stdout)).split('\n');
  expect(lines.pop()).toBe('');
  const told = lines.map((line) => JSON.parse(line) as { msg: string; requestId?: string });
  const ids = Array.from({ length: 501 }, (_, at) => String(at + 1));
  expect(told.map(({ msg, requestId }) => requestId ?? msg)).toEqual([
    ...ids.slice(0, 500),
    'between',
    '501',
  ]);
});
