// The HTTP/1.1 connections to one target. Each carries one request at a time; the one that was used last is used next,
// so that the others grow old and are closed. undici's own pool does not tell whether a connection was used before,
// which is what decides whether a request may be sent again.
import { Agent, type buildConnector, Client, type Dispatcher } from 'undici';
import type { Connection, TargetConnections } from './target-connections.ts';

export interface ConnectionOptions {
  /** How a connection is opened. */
  readonly connect: buildConnector.connector;
  readonly headersMs: number;
  /** How long an idle one is kept, unless the target says otherwise (Keep-Alive). */
  readonly keepAliveMs: number;
  /** How long one is used. */
  readonly lifeMs: number;
}

const MAX_RESPONSE_HEADER_BYTES = 64 * 1024;
/** However long the target would keep an idle connection. */
const LONGEST_KEEP_ALIVE_MS = 60_000;
/** A connection is closed so much earlier than its target says it would: a request may be under way to it by then. */
const KEEP_ALIVE_MARGIN_MS = 1000;
/** Old connections are looked for so often. */
const LOOK_EVERY_MS = 1000;

class ClientConnection implements Connection {
  readonly client: Client;
  /** Requests written to it, since it was opened. */
  uses = 0;
  /** Null while it is not open. */
  address: string | null = null;
  /** `performance.now()` */
  openedAt = 0;
  isIdle = false;
  /** It carries no further request. */
  isRetired = false;

  constructor(client: Client) {
    this.client = client;
  }
}

export class Connections implements TargetConnections {
  readonly #origin: string;
  readonly #options: ConnectionOptions;
  readonly #all = new Set<ClientConnection>();
  readonly #idle: ClientConnection[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(origin: string, options: ConnectionOptions) {
    this.#origin = origin;
    this.#options = options;
    this.#timer = setInterval(() => this.#retireOld(), LOOK_EVERY_MS).unref();
  }

  /** One that carries nothing; it is opened with its first request. */
  take(): ClientConnection {
    const connection = this.#idle.pop();
    if (connection === undefined) return this.#open();
    connection.isIdle = false;
    return connection;
  }

  /** One that nothing was sent on before. */
  takeNew(): ClientConnection {
    return this.#open();
  }

  /** Its request is over, and it may carry another. */
  giveBack(connection: ClientConnection): void {
    if (connection.isRetired || connection.address === null) this.discard(connection);
    else {
      connection.isIdle = true;
      this.#idle.push(connection);
    }
  }

  /** Its request is over, and nothing further shall be sent on it. */
  discard(connection: ClientConnection): void {
    this.#all.delete(connection);
    connection.client.destroy().catch(() => {});
  }

  /** Those to addresses the target no longer has end as soon as they carry nothing. */
  retire(isOutdated: (connection: ClientConnection) => boolean): void {
    for (const connection of this.#all) {
      if (connection.address === null || !isOutdated(connection)) continue;
      connection.isRetired = true;
      if (connection.isIdle) this.#drop(connection);
    }
  }

  openForChecks(): Dispatcher {
    return new Agent({ connect: this.#options.connect, pipelining: 0 });
  }

  get open(): number {
    return this.#all.size;
  }

  get idle(): number {
    return this.#idle.length;
  }

  close(): Promise<unknown> {
    clearInterval(this.#timer);
    return Promise.all([...this.#all].map(({ client }) => client.destroy()));
  }

  #open(): ClientConnection {
    const { connect, headersMs, keepAliveMs } = this.#options;
    const client = new Client(this.#origin, {
      connect: (to, done) =>
        connect(to, (...[error, socket]: Parameters<buildConnector.Callback>) => {
          if (error !== null) return done(error, null);
          connection.address = socket.remoteAddress ?? '';
          done(null, socket);
        }),
      headersTimeout: headersMs,
      // See idle.ts: undici would not tell an event stream from a download that hangs.
      bodyTimeout: 0,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: Math.max(LONGEST_KEEP_ALIVE_MS, keepAliveMs),
      keepAliveTimeoutThreshold: KEEP_ALIVE_MARGIN_MS,
      maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
      pipelining: 1,
    });
    const connection = new ClientConnection(client);
    client.on('connect', () => {
      connection.uses = 0;
      connection.openedAt = performance.now();
    });
    client.on('disconnect', () => {
      connection.address = null;
      if (connection.isIdle) this.#drop(connection);
    });
    this.#all.add(connection);
    return connection;
  }

  #drop(connection: ClientConnection): void {
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
    connection.isIdle = false;
    this.discard(connection);
  }

  #retireOld(): void {
    const oldest = performance.now() - this.#options.lifeMs;
    this.retire(({ openedAt }) => openedAt < oldest);
  }
}
