// All or nothing: everything a piece of work does to Postgres, through whatever library, is one transaction, but for
// what is prepared. A connection that breaks while it commits leaves open whether it did; then the server is asked, so that
// "failed" means nothing changed.
import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresPoolClient } from 'kysely';
import type pg from 'pg';
import { forgetStoreError, noteStoreError, unwatched } from './failures.ts';

export interface Transactions {
  /** A connection for a query: the transaction's own while work runs in one, else null. */
  join(): PostgresPoolClient | null;
  /** Runs the work; throws its error, or the store's, after taking back all that was done. */
  run<T>(work: () => Promise<T>): Promise<T>;
  /** For what must not happen before the change is there: at once outside a transaction; after a failed one, too. */
  afterwards(work: () => Promise<void>): Promise<void>;
}

interface Transaction {
  readonly client: pg.PoolClient;
  /** Queries wait for their turn: a connection carries one at a time. */
  line: Promise<unknown>;
  failure: unknown;
  isOver: boolean;
  readonly afterwards: (() => Promise<void>)[];
}

/** How long the server is asked whether it has committed: longer than a restart of it takes. */
const SETTLE_MS = 4000;
const ASK_AGAIN_MS = 50;

export function createTransactions(pool: pg.Pool): Transactions {
  const current = new AsyncLocalStorage<Transaction>();
  const running = () => {
    const transaction = current.getStore();
    return transaction === undefined || transaction.isOver ? null : transaction;
  };
  return {
    join() {
      const transaction = running();
      return transaction && joined(transaction);
    },
    async run(work) {
      const { client, id } = await begin(pool);
      const transaction: Transaction = {
        client,
        line: Promise.resolve(),
        failure: null,
        isOver: false,
        afterwards: [],
      };
      try {
        const result = await current.run(transaction, work);
        // What nobody waits for is a part of it, too.
        await transaction.line;
        if (transaction.failure !== null) throw transaction.failure;
        transaction.isOver = true;
        await commit(pool, client, id);
        return result;
      } catch (error) {
        // What is waiting for its turn must not run after it was all taken back, and stay.
        transaction.isOver = true;
        await rollback(client);
        throw error;
      } finally {
        // It is done, or not done, whatever becomes of these.
        for (const each of transaction.afterwards) await unwatched(each).catch(() => {});
      }
    },
    async afterwards(work) {
      const transaction = running();
      if (transaction) transaction.afterwards.push(work);
      else await work();
    },
  };
}

/** What names a transaction to the server, later and from another connection. */
interface TransactionId {
  readonly txid: string;
  readonly pid: number;
}

async function begin(pool: pg.Pool): Promise<{ client: pg.PoolClient; id: TransactionId }> {
  const client = await noting(pool.connect());
  try {
    await client.query('begin');
    const { rows } = await client.query('select txid_current()::text as txid, pg_backend_pid() as pid');
    return { client, id: rows[0] };
  } catch (error) {
    noteStoreError(error);
    client.release(true);
    throw error;
  }
}

async function commit(pool: pg.Pool, client: pg.PoolClient, id: TransactionId): Promise<void> {
  try {
    await client.query('commit');
    client.release();
  } catch (error) {
    if (!(await unwatched(() => hasCommitted(pool, id)))) {
      noteStoreError(error);
      throw error;
    }
    // The connection may have told of its end, too.
    forgetStoreError();
    client.release(true);
  }
}

async function rollback(client: pg.PoolClient): Promise<void> {
  try {
    await client.query('rollback');
    client.release();
  } catch (error) {
    // The server takes back what nobody committed.
    noteStoreError(error);
    client.release(true);
  }
}

/** False when nobody can say in time, too. */
async function hasCommitted(pool: pg.Pool, { txid, pid }: TransactionId): Promise<boolean> {
  for (
    const deadline = performance.now() + SETTLE_MS;
    performance.now() < deadline;
    await sleep(ASK_AGAIN_MS)
  ) {
    try {
      // What is still open must not be committed behind our back.
      await pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where pid = $1 and backend_xid::text::bigint = $2::bigint % 4294967296`,
        [pid, txid],
      );
      const { rows } = await pool.query('select txid_status($1::bigint) as status', [txid]);
      if (rows[0]?.status !== 'in progress') return rows[0]?.status === 'committed';
    } catch {}
  }
  return false;
}

/** Begins and ends are the whole work's alone. */
const CONTROL = /^(begin|start transaction|commit|rollback)\b/i;

function joined(transaction: Transaction): PostgresPoolClient {
  const query = async (text: string, parameters: readonly unknown[]): Promise<unknown> => {
    const control = CONTROL.exec(text)?.[1]?.toLowerCase();
    if (control === 'rollback') transaction.failure ??= new Error('A part of the work was taken back');
    if (control) return { command: control.toUpperCase(), rowCount: 0, rows: [] };
    const answer = transaction.line.then(() => {
      if (transaction.isOver) throw transaction.failure ?? new Error('The transaction is over');
      return transaction.client.query(text, [...parameters]);
    });
    transaction.line = answer.catch((error: unknown) => {
      transaction.failure ??= error;
    });
    return answer;
  };
  return { query: query as PostgresPoolClient['query'], release: () => {} };
}

async function noting<T>(connecting: Promise<T>): Promise<T> {
  try {
    return await connecting;
  } catch (error) {
    noteStoreError(error);
    throw error;
  }
}
