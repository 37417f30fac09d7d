import { accessSync, constants, globSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where the servers' programs are on this machine. */
export type Binaries = { initdb: string; postgres: string; redis: string };

export const missingBinaries =
  'Tests need PostgreSQL and Redis: install them (Debian: apt-get install postgresql redis-server), ' +
  'or set TEST_DATABASE_URL and TEST_REDIS_URL.';

/** Undefined when Postgres or Redis is not installed. */
export function findBinaries(): Binaries | undefined {
  const initdb = findProgram('initdb');
  const postgres = findProgram('postgres');
  const redis = findProgram('redis-server');
  return initdb && postgres && redis ? { initdb, postgres, redis } : undefined;
}

/** @throws an error that says in one line what to install. */
export function requireBinaries(): Binaries {
  const binaries = findBinaries();
  if (!binaries) throw new Error(missingBinaries);
  return binaries;
}

function findProgram(name: string): string | undefined {
  const onPath = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  return [...debianFolders(), ...onPath].map((folder) => join(folder, name)).find(isExecutable);
}

/** Debian keeps Postgres off the PATH, one folder for each version; the newest comes first. */
function debianFolders(): string[] {
  const newestFirst = (a: string, b: string) => b.localeCompare(a, 'en', { numeric: true });
  return globSync('/usr/lib/postgresql/*/bin').sort(newestFirst);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
