// Opens the store: Postgres when there is a DATABASE_URL, else one SQLite file in the data folder.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { setTimeout } from 'node:timers/promises';
import { NodeSqliteDialect } from '@better-auth/kysely-adapter/node-sqlite-dialect';
import { CompiledQuery, type Dialect, Kysely, PostgresDialect, type PostgresPool, sql } from 'kysely';
import pg from 'pg';
import { noteStoreError } from './failures.ts';
import { type FileLock, lockDataFolder, openPrivateFile } from './file-lock.ts';
import { type PreparedQuery, prepareQuery } from './prepared.ts';
import type { StoredDate, Tables } from './tables.ts';
import { createTransactions, type Transactions } from './transactions.ts';

export interface Database {
  readonly kind: 'postgres' | 'sqlite';
  readonly kysely: Kysely<Tables>;
  /** A query in the store's own words, asked often and with other values each time; it joins no transaction. */
  prepare(text: string): PreparedQuery;
  /** How a date is written in a column; reading is {@link millisOf}. */
  date(millis: number): StoredDate;
  /** Lets one transaction at a time pass for a key, across gateways. Call it inside the transaction. */
  lockInTransaction(transaction: Kysely<Tables>, key: string): Promise<void>;
  /**
   * Runs the work while nobody else, at any gateway, holds the lock of this name. The embedded file has one process, which
   * takes care itself.
   *
   * @returns null, without having run it, when somebody holds it
   */
  withLock<T>(name: string, work: () => Promise<T>): Promise<T | null>;
  /** All or nothing, in Postgres; see transactions.ts. The embedded file has no connection that could break. */
  inTransaction<T>(work: () => Promise<T>): Promise<T>;
  /** For what must not happen before the change is there; also runs when it was taken back. */
  afterTransaction(work: () => Promise<void>): Promise<void>;
  /** The open file, where the store is one. */
  readonly file: DatabaseSync | null;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly databaseUrl: string | null;
  readonly dataDir: string;
}

/** Longest a request waits for a connection, and for an answer. pg waits for ever by default. */
const CONNECT_TIMEOUT_MS = 1000;
const QUERY_TIMEOUT_MS = 1000;
const CLOSE_TIMEOUT_MS = 2000;
/** A transaction that nobody goes on with keeps its rows locked; it is ended. */
const IDLE_IN_TRANSACTION_MS = 10_000;

/** Opens without connecting: a Postgres that is away shows at the first query. */
export function openDatabase(options: DatabaseOptions): Database {
  if (options.databaseUrl !== null) {
    return openPostgres(options.databaseUrl, {
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS,
      statement_timeout: QUERY_TIMEOUT_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    });
  }
  return openSqlite(options.dataDir);
}

/** For migrations: no time limits, and past a pooler where an address for that is given. */
export function openDatabaseForMigration(
  options: DatabaseOptions & { databaseDirectUrl: string | null },
): Database {
  if (options.databaseUrl === null) return openSqlite(options.dataDir);
  return openPostgres(options.databaseDirectUrl ?? options.databaseUrl, { connectionTimeoutMillis: 10_000 });
}

/** Epoch milliseconds of a date column. */
export function millisOf(value: StoredDate): number;
export function millisOf(value: StoredDate | null): number | null;
export function millisOf(value: StoredDate | null): number | null {
  return value === null ? null : value instanceof Date ? value.getTime() : Date.parse(value);
}

// Columns of the type "timestamp without time zone" hold UTC (Prisma makes such); pg would read and write them in
// the time zone of the process.
const TIMESTAMP = 1114;
pg.defaults.parseInputDatesAsUTC = true;
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === TIMESTAMP && format !== 'binary'
      ? (text: string) => new Date(`${text.replace(' ', 'T')}Z`)
      : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

function openPostgres(connectionString: string, options: pg.PoolConfig): Database {
  const pool = new pg.Pool({
    connectionString,
    types,
    max: 10,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    application_name: 'better-hub-gateway',
    ...options,
  });
  // A connection that breaks is replaced at the next query. Without a listener it would end the process: the pool
  // speaks for idle connections, each connection for itself while it is in use.
  pool.on('error', noteStoreError);
  pool.on('connect', (client) => client.on('error', noteStoreError));
  const transactions = createTransactions(pool);
  return {
    kind: 'postgres',
    file: null,
    kysely: openKysely(new PostgresDialect({ pool: joiningPool(pool, transactions) })),
    prepare: (text) => prepareQuery(pool, text),
    date: (millis) => new Date(millis),
    lockInTransaction: async (transaction, key) => {
      await sql`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`.execute(transaction);
    },
    withLock: (name, work) => withLock(pool, name, work),
    inTransaction: transactions.run,
    afterTransaction: transactions.afterwards,
    // A server that is stopped takes leave of nobody.
    close: () => Promise.race([pool.end(), setTimeout(CLOSE_TIMEOUT_MS, undefined, { ref: false })]),
  };
}

function joiningPool(pool: pg.Pool, transactions: Transactions): PostgresPool {
  return {
    options: pool.options,
    connect: async () => {
      try {
        return transactions.join() ?? (await pool.connect());
      } catch (error) {
        noteStoreError(error);
        throw error;
      }
    },
    end: () => pool.end(),
  };
}

/** Longer than any work under a lock takes; the transaction of the lock is idle meanwhile. */
const LONGEST_LOCK = '30s';

/** Of a transaction and not of a session: a connection pooler in between would give the session to others. */
async function withLock<T>(pool: pg.Pool, name: string, work: () => Promise<T>): Promise<T | null> {
  const client = await pool.connect();
  let isBroken = true;
  try {
    await client.query('begin');
    await client.query(`set local idle_in_transaction_session_timeout = '${LONGEST_LOCK}'`);
    const locked = await client.query(
      'select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as "isOurs"',
      [name],
    );
    const [result] = locked.rows[0].isOurs ? await Promise.allSettled([work()]) : [null];
    isBroken = await client.query('commit').then(
      () => false,
      () => true,
    );
    if (result?.status === 'rejected') throw result.reason;
    return result === null ? null : (result?.value ?? null);
  } finally {
    // With its connection a lock ends, too.
    client.release(isBroken);
  }
}

function openSqlite(dataDir: string): Database {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const lock: FileLock = lockDataFolder(dataDir);
  const database = openPrivateFile(join(dataDir, 'gateway.sqlite'));
  database.exec(
    'pragma journal_mode=wal; pragma synchronous=normal; pragma busy_timeout=5000; pragma foreign_keys=on',
  );
  const kysely = openKysely(new NodeSqliteDialect({ database }));
  return {
    kind: 'sqlite',
    file: database,
    kysely,
    prepare: (text) => async (values) =>
      (await kysely.executeQuery(CompiledQuery.raw(text, [...values]))).rows,
    date: (millis) => new Date(millis).toISOString(),
    // One process a file, and one transaction at a time within it.
    lockInTransaction: async () => {},
    withLock: (_name, work) => work(),
    inTransaction: (work) => work(),
    afterTransaction: (work) => work(),
    close: async () => {
      await kysely.destroy();
      lock.release();
    },
  };
}

function openKysely(dialect: Dialect): Kysely<Tables> {
  return new Kysely<Tables>({
    dialect,
    log: (event) => {
      if (event.level === 'error') noteStoreError(event.error);
    },
  });
}
