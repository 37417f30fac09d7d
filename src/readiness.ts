// Can the gateway do its work? Asked by /readyz.
import type { Redis } from 'ioredis';
import type { Database } from './database/database.ts';
import { TABLES, tableNames } from './database/migrate.ts';

/** The state of each store by name: `ok`, or what is wrong, in words without secrets. */
export async function readiness(
  database: Database,
  redis: Redis | null,
  listener: string,
): Promise<Record<string, string>> {
  const [store, shared] = await Promise.all([databaseState(database), redis ? redisState(redis) : null]);
  return { database: store, listener, ...(shared !== null && { redis: shared }) };
}

async function databaseState(database: Database): Promise<string> {
  try {
    const there = await tableNames(database);
    const missing = TABLES.filter((name) => !there.includes(name));
    return missing.length === 0
      ? 'ok'
      : `tables are missing (${missing.join(', ')}): run the command migrate`;
  } catch {
    return 'does not answer';
  }
}

async function redisState(redis: Redis): Promise<string> {
  const answer = await redis.ping().catch(() => null);
  return answer === 'PONG' ? 'ok' : 'does not answer';
}
