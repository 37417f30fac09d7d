// Can the gateway do its work? Asked by /readyz, and once at start, for the log.
import type { Redis } from 'ioredis';
import type { Database } from './database/database.ts';
import { TABLES, tableNames } from './database/migrate.ts';

export interface ReadinessParts {
  readonly database: Database;
  readonly redis: Redis | null;
  /** Are changes heard? `ok`, or what is wrong. */
  readonly listener: () => string;
  /** Told that the database has answered, with its tables. */
  readonly onDatabase: () => void;
  /** Told why a store does not answer. */
  readonly onError: (store: 'database' | 'redis', error: unknown) => void;
}

/** The state of what the gateway needs, by name: `ok`, or what is wrong, in words without secrets. */
export async function readiness(parts: ReadinessParts): Promise<Record<string, string>> {
  const [database, redis] = await Promise.all([databaseState(parts), redisState(parts)]);
  return { database, listener: parts.listener(), ...(redis !== null && { redis }) };
}

async function databaseState({ database, onDatabase, onError }: ReadinessParts): Promise<string> {
  try {
    const there = await tableNames(database);
    const missing = TABLES.filter((name) => !there.includes(name));
    if (missing.length > 0) return `tables are missing (${missing.join(', ')}): run the command migrate`;
    onDatabase();
    return 'ok';
  } catch (error) {
    onError('database', error);
    return 'does not answer';
  }
}

async function redisState({ redis, onError }: ReadinessParts): Promise<string | null> {
  if (redis === null) return null;
  try {
    return (await redis.ping()) === 'PONG' ? 'ok' : 'does not answer';
  } catch (error) {
    onError('redis', error);
    return 'does not answer';
  }
}
