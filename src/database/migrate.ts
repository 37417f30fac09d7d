// Makes the tables: Better Auth's own by its migrations, ours beside them. Safe to run again and side by side. Tables that
// are there already may belong to an application: they are looked at, and nothing but triggers is added to them.
import type { BetterAuthOptions } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { type Kysely, sql } from 'kysely';
import type { Database } from './database.ts';
import { ownTables } from './own-tables.ts';
import { missingIndexes, type PresentTable, readPresentTables, tableFaults } from './present-tables.ts';
import type { Tables } from './tables.ts';
import { triggerStatements } from './triggers.ts';

const AUTH_TABLES = ['user', 'session', 'account', 'verification'] as const;

/** Tables the gateway reads; /readyz asks for them. */
export const TABLES = [
  ...AUTH_TABLES,
  'gateway_github_profile',
  'gateway_ended_session',
  'gateway_github_check',
] as const;

/** In the embedded file nobody has made any but the gateway. */
const NONE: ReadonlyMap<string, PresentTable> = new Map();

/** Any number will do, as long as every gateway takes the same. */
const MIGRATION_LOCK = 7_226_481_395;

export interface MigrateOptions {
  /** False for a database one may not alter: then changes by other writers are felt late; see README.md. */
  readonly triggers?: boolean;
  /** Only looks, and tells. */
  readonly dryRun?: boolean;
  /** Told before anything is done. */
  readonly onPlan?: (plan: MigrationPlan) => void;
}

export interface MigrationPlan {
  /** What will be run, in this order, in one transaction. */
  readonly statements: readonly string[];
  /** Tables that will be made. */
  readonly tables: readonly string[];
  /** Tables that stay as they are, but for triggers. */
  readonly keeps: readonly string[];
  readonly triggers: boolean;
  /** Statements for the operator to run: what is slow without them, the gateway does not change. */
  readonly indexes: readonly string[];
}

/** The tables that are there are not what the gateway can work with. Nothing was changed. */
export class MigrationRefused extends Error {
  constructor(faults: readonly string[]) {
    const list = faults.map((fault) => `  ${fault}`).join('\n');
    super(`The tables in this database are not what the gateway works with; nothing was changed:\n${list}`);
    this.name = 'MigrationRefused';
  }
}

/**
 * @param authOptions the options Better Auth runs with: they say which tables it wants
 * @returns the names of tables that were created
 * @throws {MigrationRefused}
 */
export async function migrate(
  database: Database,
  authOptions: BetterAuthOptions,
  { triggers = true, dryRun = false, onPlan }: MigrateOptions = {},
): Promise<readonly string[]> {
  return database.kysely.transaction().execute(async (transaction) => {
    if (database.kind === 'postgres') await takeTurn(transaction);
    const plan = await planMigration({ ...database, kysely: transaction }, authOptions, triggers);
    onPlan?.(plan);
    if (dryRun) return [];
    for (const statement of plan.statements) await sql.raw(statement).execute(transaction);
    return plan.tables;
  });
}

/** The tables that are there, of those in {@link TABLES}. */
export async function tableNames({ kysely, kind }: Database): Promise<string[]> {
  const names =
    kind === 'postgres'
      ? await readPresentTables(kysely, TABLES)
      : new Set((await kysely.introspection.getTables()).map((table) => table.name));
  return TABLES.filter((name) => names.has(name));
}

/**
 * One migration at a time. A table that somebody else has locked is not waited for very long: whoever comes after us would
 * wait, too.
 */
async function takeTurn(transaction: Kysely<Tables>): Promise<void> {
  await sql`select pg_advisory_xact_lock(${MIGRATION_LOCK}::bigint)`.execute(transaction);
  await sql`set local lock_timeout = '2s'`.execute(transaction);
}

async function planMigration(
  database: Database,
  authOptions: BetterAuthOptions,
  triggers: boolean,
): Promise<MigrationPlan> {
  const present = await tableNames(database);
  const tablesOfAuth =
    database.kind === 'postgres' ? await readPresentTables(database.kysely, AUTH_TABLES) : NONE;
  refuseStrangers(tablesOfAuth, authOptions);
  const tables = TABLES.filter((name) => !present.includes(name));
  const own = ownTables(database);
  const ours = tables.flatMap((name) => (own[name] ? [own[name].sql] : []));
  const changing = triggers ? await triggerStatements(database) : [];
  return {
    statements: [...(await authStatements(database, authOptions, present)), ...ours, ...changing],
    tables,
    keeps: present,
    triggers: changing.length > 0,
    indexes: missingIndexes(tablesOfAuth),
  };
}

/** @throws {MigrationRefused} */
function refuseStrangers(present: ReadonlyMap<string, PresentTable>, authOptions: BetterAuthOptions): void {
  const faults = tableFaults(present, authOptions);
  if (faults.length > 0) throw new MigrationRefused(faults);
}

/** In Postgres all of Better Auth's tables are there, or none; the embedded file is ours alone, and follows Better Auth. */
async function authStatements(
  { kind, kysely }: Database,
  authOptions: BetterAuthOptions,
  present: readonly string[],
): Promise<string[]> {
  if (kind === 'postgres' && AUTH_TABLES.every((name) => present.includes(name))) return [];
  const { compileMigrations } = await getMigrations({
    ...authOptions,
    database: { db: kysely, type: kind, transaction: true },
  });
  return (await compileMigrations()).split(/;\s*(?:\n|$)/).filter((statement) => statement.trim() !== '');
}
