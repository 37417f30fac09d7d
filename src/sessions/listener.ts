// Hears from Postgres what changed. One connection a process; while it is away nothing can be ruled out, and says so.
import pg from 'pg';

export interface Listener {
  /** Is every change heard at the moment? */
  readonly armed: boolean;
  close(): Promise<void>;
}

export interface ListenerOptions {
  readonly connectionString: string;
  readonly channel: string;
  readonly onChange: (payload: string) => void;
  /** Told when the connection is up, the first time and after every gap. */
  readonly onArmed: () => void;
  readonly onLost: (error: unknown) => void;
}

const CONNECT_TIMEOUT_MS = 1000;
const RETRY_MS = 250;
/** How long a connection that says nothing may pretend to be alive. */
const PROBE_EVERY_MS = 1000;
const PROBE_TIMEOUT_MS = 1000;

/** Starts at once and tries for ever; returns before it is armed. */
export function startListener(options: ListenerOptions): Listener {
  let armed = false;
  let closed = false;
  let client: pg.Client | null = null;
  let timer: NodeJS.Timeout | undefined;

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
    next.on('error', lose);
    next.on('end', () => lose(new Error('The listening connection ended')));
    try {
      await next.connect();
      await next.query(`listen ${options.channel}`);
      if (closed || client !== next) return;
      armed = true;
      options.onArmed();
      schedule(probe, PROBE_EVERY_MS);
    } catch (error) {
      lose(error);
    }
  };

  // A stopped server, or a connection cut without a word, ends no socket: it is asked.
  const probe = async () => {
    try {
      await client?.query('select 1');
      if (armed) schedule(probe, PROBE_EVERY_MS);
    } catch (error) {
      lose(error);
    }
  };

  const lose = (error: unknown) => {
    if (closed || client === null) return;
    const lost = client;
    client = null;
    lost.removeAllListeners('end');
    lost.end().catch(() => {});
    if (armed) options.onLost(error);
    armed = false;
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
    async close() {
      closed = true;
      clearTimeout(timer);
      await client?.end().catch(() => {});
    },
  };
}
