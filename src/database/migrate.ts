// Makes the tables: Better Auth's own by its migrations, ours beside them. Safe to run again and side by side.
import type { BetterAuthOptions } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { type Kysely, sql } from 'kysely';
import type { Database } from './database.ts';
import type { Tables } from './tables.ts';
import { installTriggers } from './triggers.ts';

/** Tables the gateway reads; /readyz asks for them. */
export const TABLES = [
  'user',
  'session',
  'account',
  'verification',
  'gateway_github_profile',
  'gateway_ended_session',
] as const;

/** Any number will do, as long as every gateway takes the same. */
const MIGRATION_LOCK = 7_226_481_395;

export interface MigrateOptions {
  /** False for a database one may not alter: then changes by other writers are felt late; see README.md. */
  readonly triggers?: boolean;
}

/**
 * @param authOptions the options Better Auth runs with: they say which tables it wants
 * @returns the names of tables that were created
 */
export async function migrate(
  database: Database,
  authOptions: BetterAuthOptions,
  { triggers = true }: MigrateOptions = {},
): Promise<string[]> {
  return withMigrationLock(database, async () => {
    const before = await tableNames(database);
    const { runMigrations } = await getMigrations(authOptions);
    await runMigrations();
    await createOwnTables(database);
    if (triggers) await installTriggers(database);
    return (await tableNames(database)).filter((name) => !before.includes(name));
  });
}

/** The tables that are there, of those in {@link TABLES}. */
export async function tableNames(database: Database): Promise<string[]> {
  const found = await database.kysely.introspection.getTables();
  const names = new Set(found.map((table) => table.name));
  return TABLES.filter((name) => names.has(name));
}

async function createOwnTables(database: Database): Promise<void> {
  const { schema } = database.kysely;
  const date = database.kind === 'postgres' ? 'timestamptz' : 'text';
  await schema
    .createTable('gateway_github_profile')
    .ifNotExists()
    .addColumn('userId', 'text', (column) => column.primaryKey().references('user.id').onDelete('cascade'))
    .addColumn('githubId', 'text', (column) => column.notNull().unique())
    .addColumn('login', 'text', (column) => column.notNull())
    .addColumn('tokenKind', 'text', (column) => column.notNull())
    .addColumn('tokenExpiresAt', date)
    .addColumn('scopesKnown', 'integer', (column) => column.notNull())
    .addColumn('updatedAt', date, (column) => column.notNull())
    .execute();
  await schema
    .createTable('gateway_ended_session')
    .ifNotExists()
    .addColumn('tokenHash', 'text', (column) => column.primaryKey())
    .addColumn('userId', 'text', (column) => column.notNull().references('user.id').onDelete('cascade'))
    .addColumn('until', date, (column) => column.notNull())
    .execute();
}

async function withMigrationLock<T>(database: Database, work: () => Promise<T>): Promise<T> {
  // The SQLite file is locked by its process already.
  if (database.kind === 'sqlite') return work();
  return database.kysely.connection().execute(async (connection: Kysely<Tables>) => {
    await sql`select pg_advisory_lock(${MIGRATION_LOCK}::bigint)`.execute(connection);
    try {
      return await work();
    } finally {
      await sql`select pg_advisory_unlock(${MIGRATION_LOCK}::bigint)`.execute(connection);
    }
  });
}
