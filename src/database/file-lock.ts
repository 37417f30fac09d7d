// One process a data folder: the lock is a transaction on a second SQLite file, so it ends with its process,
// however that ends.
import { chmodSync, closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export interface FileLock {
  release(): void;
}

/** Another process has the data folder. */
export class DataFolderBusy extends Error {
  constructor(dataDir: string) {
    super(
      `Another gateway is using the data folder ${dataDir}. Stop it, name another folder in DATA_DIR, or set DATABASE_URL: a Postgres can be shared.`,
    );
    this.name = 'DataFolderBusy';
  }
}

const WAIT_MS = 5000;

/**
 * Waits up to 5 s, blocking, for a process that is just ending or migrating.
 *
 * @throws {DataFolderBusy}
 */
export function lockDataFolder(dataDir: string): FileLock {
  const file = openPrivateFile(join(dataDir, 'gateway.lock'));
  try {
    file.exec(`pragma busy_timeout=${WAIT_MS}; begin exclusive`);
  } catch (error) {
    file.close();
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) throw new DataFolderBusy(dataDir);
    throw error;
  }
  return { release: () => file.close() };
}

const SQLITE_BUSY = 5;

/** Sessions and tokens are the gateway's alone, even in a folder that others may read. SQLite's further files follow. */
export function openPrivateFile(path: string): DatabaseSync {
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  return new DatabaseSync(path);
}
