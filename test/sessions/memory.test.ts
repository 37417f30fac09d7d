// What a session in memory weighs. In a process of its own: nothing else is on the scales.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { report } from '../support/figures.ts';
import { startSurroundings } from '../support/gateway.ts';
import { scale, UNHURRIED } from '../support/scale.ts';

const SESSIONS = scale({ quick: 10_000, full: 100_000 });
const MOST_BYTES = 2048;
const SCALES = fileURLToPath(new URL('../support/warm-sessions.ts', import.meta.url));

test(
  'a warm session weighs no more than 2 KB, whatever header its cookie came in',
  UNHURRIED,
  async (context) => {
    const around = await startSurroundings({ stores: 'sqlite' });
    onTestFinished(() => around.close());
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--expose-gc', SCALES, String(SESSIONS), around.env.DATA_DIR ?? ''],
      { env: { ...around.env, LOG_LEVEL: 'silent' } },
    );
    const { kept, bytesPerSession, withIdentity } = JSON.parse(stdout);
    report(context, { sessions: kept, bytesPerSession, withIdentity });
    expect(kept).toBe(SESSIONS);
    expect(bytesPerSession).toBeLessThanOrEqual(MOST_BYTES);
  },
);
