// Where and how a run was measured: figures without it are of no use to anybody else.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { pinning } from './cores.ts';
import { findProgram } from './programs.ts';
import type { Head } from './results.ts';
import type { Sizes } from './scenario.ts';

const PACKAGES = ['fastify', 'undici', '@fastify/http-proxy', 'better-auth', 'autocannon'];
const ROOT = new URL('../', import.meta.url);

export function headOf(sizes: Sizes): Head {
  const [cpu] = cpus();
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} cores, ${cpu?.model.trim() ?? process.arch}, ${gigabytes} GB, ${type()} ${release()}`,
    versions: { gateway: commit(), Node: process.version, ...packages(), ...programs() },
    settings: [
      `${sizes.connections} connections, 1 KB answer, 1.4 KB of cookies to everybody`,
      `medians of ${sizes.rounds} rounds, each of the requests of ${sizes.seconds} s`,
      pinning(),
      `large store: ${sizes.manySessions.toLocaleString('en')} sessions in Postgres and Redis`,
    ],
  };
}

function commit(): string {
  const { version } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')) as { version: string };
  const args = ['rev-parse', '--short', 'HEAD'];
  const { stdout } = spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' });
  return stdout ? `${version} (${stdout.trim()})` : version;
}

function packages(): Record<string, string> {
  const versions = PACKAGES.map((name) => {
    const file = new URL(`node_modules/${name}/package.json`, ROOT);
    return [name, (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version] as const;
  });
  return Object.fromEntries(versions);
}

/** As they say themselves; those that are not here are left out. */
function programs(): Record<string, string> {
  const asked = {
    nginx: ['nginx', '-v'],
    Apache: ['apache2', '-v'],
    Redis: ['redis-server', '--version'],
    'oauth2-proxy': ['oauth2-proxy', '--version'],
  };
  const found = Object.entries(asked).flatMap(([name, [program = '', flag = '']]) => {
    const path = findProgram(program);
    if (path === undefined) return [];
    const { stdout, stderr } = spawnSync(path, [flag], { encoding: 'utf8' });
    const [version] = /(?<!go|\d)\d+\.\d+\.\d+/.exec(`${stdout}${stderr}`) ?? [];
    return version === undefined ? [] : [[name, version] as const];
  });
  return Object.fromEntries(found);
}
