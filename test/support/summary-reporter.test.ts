import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { summaryLine } from './summary-reporter.ts';

const vitest = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url));
const config = fileURLToPath(new URL('fixtures/vitest.config.ts', import.meta.url));

test.each([
  ['tests that pass', ['passing'], {}, 0, '2 passed, 0 failed'],
  ['a test that fails', ['passing', 'failing'], {}, 1, '3 passed, 1 failed, 2 skipped'],
  ['a hook that fails', ['hook'], {}, 1, '0 passed, 1 failed, 1 skipped'],
  ['a file that does not load', ['passing', 'broken'], {}, 1, '2 passed, 1 failed'],
  ['a rejection nobody handles', ['unhandled'], {}, 1, '1 passed, 1 failed'],
  ['no file to run', ['no-such-file'], {}, 1, '0 passed, 1 failed'],
  ['a setup that fails', ['passing'], { FIXTURE_SETUP: 'failing-setup.ts' }, 1, '0 passed, 1 failed'],
  ['a teardown that fails', ['passing'], { FIXTURE_SETUP: 'failing-teardown.ts' }, 1, '2 passed, 1 failed'],
])('%s: the last line and the exit code say so', async (_name, files, env, code, lastLine) => {
  const { lines, ...ended } = await runVitest(files, env);
  expect({ ...ended, lastLine: lines.at(-1) }).toEqual({ code, lastLine });
});

test('what tests have measured stands before the last line: their own figures, then sums over all of them', async () => {
  const { lines } = await runVitest(['measuring', 'passing'], {});
  expect(lines.slice(lines.indexOf('Figures of single tests'))).toEqual([
    'Figures of single tests',
    '  measures: slowestMs 7, store sqlite',
    'Totals',
    '  bad paths: tried 1,242, bypasses 0',
    '  bodies: changed 1',
    '4 passed, 0 failed',
  ]);
});

test('a run that was interrupted never reads "0 failed"', () => {
  expect(summaryLine({ passed: 7, failed: 0, skipped: 1 }, 130)).toBe('7 passed, 1 failed, 1 skipped');
});

/** Both streams go into one pipe, as in a terminal: what is last there is last for a reader. */
async function runVitest(files: string[], env: Record<string, string>) {
  const command = 'exec "$@" 2>&1';
  const args = ['-c', command, 'sh', process.execPath, vitest, 'run', '--config', config, ...files];
  const child = spawn('sh', args, {
    env: { ...outsideVitest(), ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = child.stdout.setEncoding('utf8').toArray();
  const [code] = await once(child, 'exit');
  const text = (await output).join('');
  return { code, lines: text.trimEnd().split('\n') };
}

function outsideVitest(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST')));
}
