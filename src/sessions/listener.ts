// Hears from Postgres what changed. One connection a process; while it is away nothing can be ruled out, and says so.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

export interface Listener {
  /** Is the connection up, and does the question say that everything is told on it? */
  readonly complete: boolean;
  /** Is the connection up? */
  readonly armed: boolean;
  /** Epoch milliseconds up to which everything was heard for sure, in the present or the latest time of completeness. */
  readonly heardUntil: number | null;
  close(): Promise<void>;
}

export interface ListenerOptions {
  readonly connectionString: string;
  readonly channel: string;
  /** Asked on the connection itself, again and again: one row with a boolean `complete`. */
  readonly question: string;
  /** Awaited before the connection counts as up: what follows from that needs the store. Throws while it cannot be used. */
  readonly tryStore: () => Promise<void>;
  readonly onChange: (payload: string) => void;
  /** Told when the connection is up, the first time and after every gap, and whenever the answer changes. */
  readonly onArmed: (complete: boolean) => void;
  readonly onLost: (error: unknown) => void;
}

const CONNECT_TIMEOUT_MS = 1000;
const RETRY_MS = 250;
const CLOSE_TIMEOUT_MS = 2000;
/** How long a connection that says nothing may pretend to be alive. */
const PROBE_EVERY_MS = 1000;
const PROBE_TIMEOUT_MS = 1000;

/** Starts at once and tries for ever; returns before it is armed. */
export function startListener(options: ListenerOptions): Listener {
  let armed = false;
  let complete = false;
  let heardUntil: number | null = null;
  let closed = false;
  let client: pg.Client | null = null;
  let timer: NodeJS.Timeout | undefined;

  const ask = async (connection: pg.Client): Promise<boolean> => {
    const { rows } = await connection.query<{ complete: boolean }>(options.question);
    return rows[0]?.complete === true;
  };

  /** What a connection says counts only while it is the current one. */
  const learn = async (connection: pg.Client) => {
    const askedAt = Date.now();
    const answer = await ask(connection);
    if (closed || client !== connection) return;
    const changed = !armed || answer !== complete;
    armed = true;
    complete = answer;
    heardUntil = answer ? askedAt : null;
    if (changed) options.onArmed(answer);
    schedule(() => probe(connection), PROBE_EVERY_MS);
  };

  const connect = async () => {
    const next = new pg.Client({
      connectionString: options.connectionString,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: PROBE_TIMEOUT_MS,
      keepAlive: true,
      application_name: 'better-hub-gateway listener',
    });
    client = next;
    next.on('notification', ({ payload }) => options.onChange(payload ?? ''));
    next.on('error', (error) => lose(next, error));
    next.on('end', () => lose(next, new Error('The listening connection ended')));
    try {
      await next.connect();
      await next.query(`listen ${options.channel}`);
      await options.tryStore();
      await learn(next);
    } catch (error) {
      lose(next, error);
    }
  };

  // A stopped server, or a connection cut without a word, ends no socket: it is asked.
  const probe = async (connection: pg.Client) => {
    try {
      await learn(connection);
    } catch (error) {
      lose(connection, error);
    }
  };

  const lose = (connection: pg.Client, error: unknown) => {
    if (client !== connection) return;
    client = null;
    connection.end().catch(() => {});
    const wasArmed = armed;
    armed = false;
    complete = false;
    if (closed) return;
    if (wasArmed) options.onLost(error);
    schedule(connect, RETRY_MS);
  };

  const schedule = (work: () => Promise<void>, ms: number) => {
    clearTimeout(timer);
    if (!closed) timer = setTimeout(() => void work(), ms);
    timer?.unref();
  };

  void connect();
  return {
    get armed() {
      return armed;
    },
    get complete() {
      return complete;
    },
    get heardUntil() {
      return heardUntil;
    },
    async close() {
      closed = true;
      complete = false;
      clearTimeout(timer);
      const end = client?.end().catch(() => {});
      await Promise.race([end, sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })]);
    },
  };
}
