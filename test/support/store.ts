// Looks into a gateway's store past the gateway.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import pg from 'pg';

export type Row = Record<string, unknown>;

export interface TestStore {
  /** One statement with `$1`, `$2` … for its values. */
  query<T = Row>(statement: string, ...values: SQLInputValue[]): Promise<T[]>;
  /** Everything that is stored, as text: every row of every table, or the very bytes of the embedded files. */
  dump(): Promise<string>;
  close(): Promise<void>;
}

export function openTestStore(options: { databaseUrl: string | null; dataDir: string }): TestStore {
  return options.databaseUrl === null ? openFile(options.dataDir) : openPostgres(options.databaseUrl);
}

function openPostgres(connectionString: string): TestStore {
  const pool = new pg.Pool({ connectionString, max: 2, connectionTimeoutMillis: 5000 });
  // Tests take the server away under it.
  pool.on('error', () => {});
  const query = async <T>(statement: string, ...values: SQLInputValue[]) =>
    (await pool.query(statement, values)).rows as T[];
  return {
    query,
    async dump() {
      const tables = await query<{ name: string }>(
        `select quote_ident(table_name) as name from information_schema.tables where table_schema = 'public'`,
      );
      const contents = tables.map(({ name }) =>
        query(`select row_to_json(t)::text as row from ${name} as t`),
      );
      return JSON.stringify(await Promise.all(contents));
    },
    close: () => pool.end(),
  };
}

function openFile(dataDir: string): TestStore {
  let opened: DatabaseSync | undefined;
  return {
    async query<T>(statement: string, ...values: SQLInputValue[]) {
      opened ??= new DatabaseSync(join(dataDir, 'gateway.sqlite'), { timeout: 5000 });
      return opened.prepare(statement.replace(/\$(\d)/g, '?$1')).all(...values) as T[];
    },
    dump: async () =>
      readdirSync(dataDir)
        .map((name) => readFileSync(join(dataDir, name), 'latin1'))
        .join('\n'),
    close: async () => opened?.close(),
  };
}
