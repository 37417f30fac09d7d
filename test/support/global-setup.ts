import type { TestProject } from 'vitest/node';
import { findBinaries, missingBinaries } from './servers/binaries.ts';
import { canInstall, installServers } from './servers/install.ts';
import { type PostgresTemplate, runPostgres } from './servers/postgres-server.ts';
import { runRedis } from './servers/redis-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string;
    /** Null when the shared Postgres was not started by this run. */
    postgresTemplate: PostgresTemplate | null;
    redisUrl: string;
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
  return async () => {
    await Promise.all([postgres?.close(), redis?.close()]);
  };
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
