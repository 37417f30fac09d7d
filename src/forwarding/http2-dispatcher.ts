// HTTP/2 to one target, in the shape of an undici dispatcher. undici's own HTTP/2 (7.30) lets an upload wait until its
// connection is idle, takes an answer that was cut for a whole one, and fails what is under way at every GOAWAY.
import { Dispatcher } from 'undici';
import type { Http2ConnectionOptions } from './http2-connection.ts';
import { Http2Connections } from './http2-connections.ts';
import { type Http2DispatchOptions, Http2Exchange } from './http2-exchange.ts';
import type { Connection, TargetConnections } from './target-connections.ts';

export class Http2Dispatcher extends Dispatcher implements TargetConnections {
  readonly #options: Http2ConnectionOptions;
  readonly #connections: Http2Connections;

  constructor(options: Http2ConnectionOptions) {
    super();
    this.#options = options;
    this.#connections = new Http2Connections(options);
  }

  /** @param options their origin is passed over: there is one target */
  override dispatch(options: Http2DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const scheme = this.#options.origin.startsWith('https:') ? 'https' : 'http';
    new Http2Exchange(options, handler, this.#connections, scheme);
    return true;
  }

  /** A stream on any of them. */
  take(): Connection {
    return {
      send: (request, handler, carry) => carry?.(request, handler, this) ?? (() => {}),
      uses: 0,
      address: null,
    };
  }

  takeNew(): Connection {
    return this.take();
  }

  giveBack(): void {}

  discard(): void {}

  retire(isOutdated: (connection: Pick<Connection, 'address'>) => boolean): void {
    this.#connections.retire(isOutdated);
  }

  openForChecks(): Dispatcher {
    return new Http2Dispatcher({ ...this.#options, keepAliveMs: 0 });
  }

  get open(): number {
    return this.#connections.open;
  }

  get idle(): number {
    return this.#connections.idle;
  }

  override async close(): Promise<void> {
    this.#connections.close();
  }

  override destroy(): Promise<void> {
    return this.close();
  }
}
