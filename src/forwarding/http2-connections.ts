// The HTTP/2 connections to one target: as many as its streams need, each with no more streams than the target allows.
import { errors } from 'undici';
import { Http2Connection, type Http2ConnectionOptions } from './http2-connection.ts';
import type { Connection } from './target-connections.ts';

/** A request on its way to a connection. */
export interface Passenger {
  /** Called when there is room for it. */
  board(connection: Http2Connection): void;
  /** No connection could be opened. */
  strand(error: Error): void;
}

const MOST_CONNECTIONS = 32;
/** What most servers allow, until a target has told. */
const USUAL_STREAMS = 100;

export class Http2Connections {
  readonly #options: Http2ConnectionOptions;
  readonly #all = new Set<Http2Connection>();
  readonly #waiting = new Set<Passenger>();
  #usualStreams = USUAL_STREAMS;

  constructor(options: Http2ConnectionOptions) {
    this.#options = options;
  }

  /** Boards the passenger now or later; strands it where nothing can be opened. */
  admit(passenger: Passenger): void {
    this.#waiting.add(passenger);
    this.#serve();
  }

  /** It waits no longer. */
  forget(passenger: Passenger): void {
    this.#waiting.delete(passenger);
  }

  retire(isOutdated: (connection: Pick<Connection, 'address'>) => boolean): void {
    for (const connection of this.#all)
      if (connection.address !== null && isOutdated(connection)) connection.retire();
  }

  get open(): number {
    return this.#all.size;
  }

  get idle(): number {
    return [...this.#all].filter(({ isIdle }) => isIdle).length;
  }

  close(): void {
    for (const connection of this.#all) connection.destroy();
    this.#strandAll(new errors.ClientDestroyedError());
  }

  /** First come, first served. */
  #serve = (): void => {
    for (const passenger of this.#waiting) {
      const connection = this.#withRoom();
      if (connection === null) break;
      this.#waiting.delete(passenger);
      passenger.board(connection);
    }
    this.#openMore();
  };

  #withRoom(): Http2Connection | null {
    for (const connection of this.#all) if (connection.hasRoom) return connection;
    return null;
  }

  get #hasHope(): boolean {
    return [...this.#all].some(({ isOpening, isUsable }) => isOpening || isUsable);
  }

  #openMore(): void {
    let coming = [...this.#all].filter(({ isOpening }) => isOpening).length * this.#usualStreams;
    while (coming < this.#waiting.size && this.#all.size < MOST_CONNECTIONS) {
      this.#open();
      coming += this.#usualStreams;
    }
  }

  #open(): void {
    const connection = new Http2Connection(this.#options, this.#serve);
    const { session } = connection;
    this.#all.add(connection);
    session.on('remoteSettings', () => {
      this.#usualStreams = Math.max(1, connection.mostStreams);
      this.#serve();
    });
    session.once('close', () => {
      this.#all.delete(connection);
      // Where others are open, their streams make room in time: to try again at once would only knock at a closed door.
      if (!connection.isOpening) this.#serve();
      else if (!this.#hasHope) this.#strandAll(connection.fault);
    });
  }

  #strandAll(error: Error): void {
    const stranded = [...this.#waiting];
    this.#waiting.clear();
    for (const passenger of stranded) passenger.strand(error);
  }
}
