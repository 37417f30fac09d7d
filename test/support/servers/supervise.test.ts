import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { isAlive } from './processes.ts';

const owner = fileURLToPath(new URL('../fixtures/server-owner.ts', import.meta.url));

test.each([
  ['redis', 'running'],
  ['redis', 'paused'],
  ['redis', 'killed'],
  ['postgres', 'running'],
  ['postgres', 'paused'],
])('a %s that is %s ends with its folder when the process that started it is killed', async (name, state) => {
  const parent = spawn(process.execPath, [owner, name, state], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(parent.stdout, 'data');
  const { pids, folder } = JSON.parse(line) as { pids: number[]; folder: string };
  expect(existsSync(folder)).toBe(true);
  parent.kill('SIGKILL');
  await expect.poll(() => pids.filter(isAlive), { timeout: 15_000 }).toEqual([]);
  await expect.poll(() => existsSync(folder), { timeout: 15_000 }).toBe(false);
});
