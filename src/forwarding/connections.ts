// The HTTP/1.1 connections to one target. The one that was used last is used next, so that the others grow old and are
// closed.
import { Agent, type buildConnector, type Dispatcher } from 'undici';
import { Http1Connection } from './http1-connection.ts';
import type { Connection, TargetConnections } from './target-connections.ts';

export interface ConnectionOptions {
  /** How a connection is opened. */
  readonly connect: buildConnector.connector;
  /** How long an idle one is kept, unless the target says otherwise (Keep-Alive). */
  readonly keepAliveMs: number;
  /** How long one is used. */
  readonly lifeMs: number;
}

/** However long the target would keep an idle connection. */
const LONGEST_KEEP_ALIVE_MS = 60_000;
/** A connection is closed so much earlier than its target says it would: a request may be under way to it by then. */
const KEEP_ALIVE_MARGIN_MS = 1000;
/** Old connections are looked for so often. */
const LOOK_EVERY_MS = 250;

export class Connections implements TargetConnections {
  readonly #to: buildConnector.Options;
  readonly #options: ConnectionOptions;
  readonly #all = new Set<Http1Connection>();
  /** The one that was used last is the last. */
  readonly #idle: Http1Connection[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(origin: string, options: ConnectionOptions) {
    const { protocol, hostname, host, port } = new URL(origin);
    // An IPv6 address stands in brackets in URLs alone.
    this.#to = { protocol, hostname: hostname.replace(/^\[|\]$/g, ''), host, port };
    this.#options = options;
    this.#timer = setInterval(this.#retireOld, LOOK_EVERY_MS).unref();
  }

  /** One that carries nothing; it is opened with its first request. */
  take(): Http1Connection {
    const now = performance.now();
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      connection.isIdle = false;
      if (connection.isUsable && connection.usableUntil > now) return connection;
      connection.destroy();
    }
    return this.#open();
  }

  /** One that nothing was sent on before. */
  takeNew(): Http1Connection {
    return this.#open();
  }

  /** Its request is over, and it may carry another. */
  giveBack(connection: Connection): void {
    if (!(connection instanceof Http1Connection)) return;
    const keepMs = this.#keepMs(connection);
    connection.usableUntil = performance.now() + keepMs;
    connection.isIdle = connection.isUsable && keepMs > 0;
    if (connection.isIdle) this.#idle.push(connection);
    else connection.destroy();
  }

  /** Its request is over, and nothing further shall be sent on it. */
  discard(connection: Connection): void {
    if (connection instanceof Http1Connection) connection.destroy();
  }

  /** Those to addresses the target no longer has end as soon as they carry nothing. */
  retire(isOutdated: (connection: Http1Connection) => boolean): void {
    for (const connection of this.#all) {
      if (connection.address === null || !isOutdated(connection)) continue;
      connection.isRetired = true;
      if (connection.isIdle) connection.destroy();
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

  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const connection of this.#all) connection.destroy();
  }

  #keepMs({ keepAliveMs }: Http1Connection): number {
    const { keepAliveMs: usualMs } = this.#options;
    if (keepAliveMs === null) return usualMs;
    return Math.min(keepAliveMs - KEEP_ALIVE_MARGIN_MS, Math.max(LONGEST_KEEP_ALIVE_MS, usualMs));
  }

  #open(): Http1Connection {
    const connection = new Http1Connection((done) => this.#options.connect(this.#to, done), this.#drop);
    this.#all.add(connection);
    return connection;
  }

  #drop = (connection: Http1Connection): void => {
    this.#all.delete(connection);
    if (!connection.isIdle) return;
    connection.isIdle = false;
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
  };

  #retireOld = (): void => {
    const now = performance.now();
    const oldest = now - this.#options.lifeMs;
    this.retire(({ openedAt, isIdle, usableUntil }) => openedAt < oldest || (isIdle && usableUntil <= now));
  };
}
