import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { isFullRun } from './scale.ts';
import { addUp } from './secrecy/results.ts';
import { findBinaries, missingBinaries } from './servers/binaries.ts';
import { canInstall, installServers } from './servers/install.ts';
import { type PostgresTemplate, runPostgres } from './servers/postgres-server.ts';
import { runRedis } from './servers/redis-server.ts';
import { addFigures } from './summary-reporter.ts';

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string;
    /** Null when the shared Postgres was not started by this run. */
    postgresTemplate: PostgresTemplate | null;
    redisUrl: string;
    /** Where results of the search for secrets go. */
    searchFolder: string;
  }
}

/** One Postgres and one Redis for the whole run, unless TEST_DATABASE_URL and TEST_REDIS_URL name others. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { TEST_DATABASE_URL, TEST_REDIS_URL } = process.env;
  if (!TEST_DATABASE_URL || !TEST_REDIS_URL) await ensureBinaries();
  const [postgres, redis] = await Promise.all([
    TEST_DATABASE_URL ? undefined : runPostgres(),
    TEST_REDIS_URL ? undefined : runRedis({ settings: { databases: '256' } }),
  ]);
  project.provide('postgresUrl', postgres?.url ?? String(TEST_DATABASE_URL));
  project.provide('postgresTemplate', postgres?.template ?? null);
  project.provide('redisUrl', redis?.url ?? String(TEST_REDIS_URL));
  const searchFolder = await mkdtemp(join(tmpdir(), 'gateway-search-'));
  project.provide('searchFolder', searchFolder);
  return async () => {
    await Promise.all([postgres?.close(), redis?.close()]);
    const searched = addUp(searchFolder);
    await rm(searchFolder, { recursive: true, force: true });
    tellSearched(searched);
  };
}

/** @throws when a secret was found where it should not be: that fails the run */
function tellSearched({ figures, hits }: ReturnType<typeof addUp>): void {
  if (isFullRun)
    addFigures('everything that gateways of the run said and stored, searched for secrets', figures);
  const list = Object.entries(figures).map(([name, n]) => `${name} ${n.toLocaleString('en-US')}`);
  process.stdout.write(`Searched for secrets: ${list.join(', ')}\n`);
  if (hits.length > 0) throw new Error(`Secrets were found:\n${[...new Set(hits)].slice(0, 50).join('\n')}`);
}

async function ensureBinaries(): Promise<void> {
  if (!findBinaries() && canInstall()) {
    await installServers().catch(({ message }: Error) => giveUp(`${missingBinaries}\n${message}`));
  }
  if (!findBinaries()) giveUp(missingBinaries);
}

/** Vitest would say "No test files found" before it said why, and print an excerpt of this file. */
function giveUp(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
