import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);
const aptGet = '/usr/bin/apt-get';

/** True when this process may install Debian packages. */
export function canInstall(): boolean {
  return process.getuid?.() === 0 && existsSync(aptGet);
}

/**
 * Installs Postgres and Redis from Debian's packages, silently.
 * @throws an error with apt-get's own output when that fails.
 */
export async function installServers(): Promise<void> {
  await apt('update');
  await apt('install', '-y', '--no-install-recommends', 'postgresql', 'redis-server');
}

async function apt(...args: string[]): Promise<void> {
  // Debian's packages start their daemons, which no test uses: they are not started in runlevel 1.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const options = ['-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=3'];
  try {
    await run(aptGet, [...options, ...args], { env, maxBuffer: 64 * 1024 * 1024 });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`apt-get ${args[0]} failed:\n${stdout}${stderr}`, { cause: error });
  }
}
