// A query that Postgres plans once for each connection, and not each time: for the one that is asked about every session
// that is new here, planning takes ten times as long as the rest.
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { noteStoreError } from './failures.ts';

/** Asks with other values, and joins no transaction. @returns the rows */
export type PreparedQuery = (values: readonly unknown[]) => Promise<unknown[]>;

/**
 * A pooler that gives each transaction another connection does not find it where it was prepared, or finds it where it was
 * not (invalid_sql_statement_name, duplicate_prepared_statement): then it is planned each time after all.
 */
const OF_A_POOLER = new Set(['26000', '42P05']);
/**
 * feature_not_supported: a table has changed, and with it what the plan gives. The connection goes, and the plan with it; a
 * pooler may keep both.
 */
const OUTDATED = '0A000';
/** More than there are connections. */
const MOST_OUTDATED = 20;

export function prepareQuery(pool: pg.Pool, text: string): PreparedQuery {
  // Behind a pooler others may have prepared theirs: what has one name must be one query.
  const name = `gateway_${createHash('sha256').update(text).digest('hex').slice(0, 32)}`;
  let isKept = true;
  let outdated = 0;
  const ask = async (query: pg.QueryConfig): Promise<unknown[]> => (await pool.query(query)).rows;
  const askAnew = async (values: unknown[]) => {
    try {
      return await ask(isKept ? { name, text, values } : { text, values });
    } catch (error) {
      const { code = '' } = error as pg.DatabaseError;
      if (!OF_A_POOLER.has(code) && code !== OUTDATED) throw error;
      if (code !== OUTDATED || ++outdated > MOST_OUTDATED) isKept = false;
      return ask({ text, values });
    }
  };
  return async (values) => {
    try {
      return await askAnew([...values]);
    } catch (error) {
      noteStoreError(error);
      throw error;
    }
  };
}
