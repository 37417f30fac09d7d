// One request and its answer on a stream of HTTP/2, told as undici tells it.
import { type ClientHttp2Stream, constants } from 'node:http2';
import type { Readable } from 'node:stream';
import { type Dispatcher, errors } from 'undici';
import { GatewayError } from '../errors.ts';
import type { Http2Connection } from './http2-connection.ts';
import type { Http2Connections, Passenger } from './http2-connections.ts';

export interface Http2DispatchOptions extends Dispatcher.DispatchOptions {
  /** In place of `body`, which undici's request() destroys when it fails: another target may be sent it then. */
  readonly upload?: Readable | null;
  /** Ends it, also while it waits for a connection. */
  readonly aborted?: AbortSignal;
  /** Called just before the first byte of the request is sent. */
  readonly onSending?: () => void;
}

/** So much of a body is kept until its request is answered, for the target that refuses the stream. */
const MOST_KEPT_BYTES = 64 * 1024;

export class Http2Exchange implements Passenger {
  readonly #options: Http2DispatchOptions;
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #connections: Http2Connections;
  readonly #headers: readonly string[];
  readonly #body: Readable | null;
  /** Ends the stream with RST_STREAM: to close it would end the body first, as if it were whole. */
  readonly #reset = new AbortController();
  #connection: Http2Connection | null = null;
  #stream: ClientHttp2Stream | null = null;
  #kept: Buffer[] | null = [];
  #keptBytes = 0;
  #bodyHasEnded = false;
  #wasRefused = false;
  #isAnswered = false;
  #isOver = false;

  constructor(
    options: Http2DispatchOptions,
    handler: Dispatcher.DispatchHandler,
    connections: Http2Connections,
    scheme: string,
  ) {
    this.#options = options;
    this.#handler = handler;
    this.#connections = connections;
    this.#headers = requestHeaders(options, scheme);
    this.#body = options.upload ?? null;
    this.#body?.pause();
    this.#body?.once('error', (error) => this.#abort(error));
    options.aborted?.addEventListener('abort', this.#onAborted);
    if (options.aborted?.aborted) this.#onAborted();
    else connections.admit(this);
  }

  board(connection: Http2Connection): void {
    this.#handler.onConnect?.(this.#abort);
    if (!this.#isOver) this.#options.onSending?.();
    if (this.#isOver) return;
    this.#connection = connection;
    try {
      const stream = connection.request(this.#headers, this.#body === null, this.#reset.signal);
      this.#stream = stream;
      this.#listen(stream);
      if (this.#body !== null) this.#sendBody(stream, this.#body);
    } catch (cause) {
      if (connection.isUsable) this.#abort(new GatewayError('bad-request', { cause }));
      else this.#connections.admit(this);
    }
  }

  strand(error: Error): void {
    this.#abort(error);
  }

  #listen(stream: ClientHttp2Stream): void {
    let isWhole = false;
    let fault: Error | null = null;
    const { push } = stream;
    // node:http2 tells the end of a stream that was reset like that of one that was ended. The latter comes first.
    stream.push = (chunk, encoding) => {
      if (chunk === null && !stream.closed) isWhole = true;
      return push.call(stream, chunk, encoding);
    };
    stream.once('response', (headers, _flags, rawHeaders) =>
      this.#onResponse(stream, Number(headers[':status']), rawHeaders as unknown as string[]),
    );
    stream.on('drain', () => this.#body?.resume());
    stream.once('end', () => isWhole && this.#complete());
    stream.on('error', (error) => {
      fault ??= error;
    });
    stream.once('close', () => this.#onClose(stream, fault));
  }

  #onResponse(stream: ClientHttp2Stream, status: number, rawHeaders: readonly string[]): void {
    if (this.#isOver) return;
    this.#isAnswered = true;
    this.#kept = null;
    try {
      const goesOn = this.#handler.onHeaders?.(status, answerHeaders(rawHeaders), () => stream.resume(), '');
      stream.on('data', (chunk: Buffer) => {
        if (!this.#isOver && this.#handler.onData?.(chunk) === false) stream.pause();
      });
      if (goesOn === false) stream.pause();
    } catch (error) {
      this.#abort(error as Error);
    }
  }

  #complete(): void {
    if (this.#isOver || !this.#isAnswered) return;
    this.#end();
    this.#handler.onComplete?.([]);
  }

  #onClose(stream: ClientHttp2Stream, fault: Error | null): void {
    if (this.#isOver || this.#stream !== stream) return;
    const connection = this.#connection as Http2Connection;
    // Nobody knows whether the target has begun to work on it: it is not sent again, to no target.
    if (this.#isAnswered || !connection.hasRefused(stream))
      this.#abort(new GatewayError('upstream-broken', { cause: fault ?? connection.fault }));
    else if (this.#wasRefused || this.#kept === null)
      this.#abort(new GatewayError('upstream-unavailable', { cause: fault }));
    else this.#sendAgain();
  }

  #sendAgain(): void {
    this.#wasRefused = true;
    this.#stream = null;
    this.#body?.pause();
    this.#connections.admit(this);
  }

  #sendBody(stream: ClientHttp2Stream, body: Readable): void {
    if (this.#wasRefused) for (const chunk of this.#kept ?? []) stream.write(chunk);
    else body.on('data', this.#onChunk).once('end', this.#onBodyEnd);
    if (this.#bodyHasEnded) stream.end();
    else if (!stream.writableNeedDrain) body.resume();
  }

  #onChunk = (chunk: Buffer): void => {
    if (this.#isOver) return;
    this.#keep(chunk);
    if (this.#stream?.write(chunk) === false) this.#body?.pause();
  };

  #onBodyEnd = (): void => {
    this.#bodyHasEnded = true;
    if (!this.#isOver) this.#stream?.end();
  };

  #keep(chunk: Buffer): void {
    this.#keptBytes += chunk.length;
    if (this.#keptBytes > MOST_KEPT_BYTES) this.#kept = null;
    else this.#kept?.push(chunk);
  }

  #onAborted = (): void => this.#abort(this.#options.aborted?.reason);

  #abort = (error?: Error): void => {
    if (this.#isOver) return;
    // Who knows whether anything still arrives there.
    if (error instanceof errors.HeadersTimeoutError) this.#connection?.retire();
    this.#end();
    this.#handler.onError?.(error ?? new errors.RequestAbortedError());
  };

  #end(): void {
    this.#isOver = true;
    this.#options.aborted?.removeEventListener('abort', this.#onAborted);
    this.#connections.forget(this);
    this.#kept = null;
    if (this.#stream !== null && !(this.#stream.readableEnded && this.#stream.writableEnded))
      this.#reset.abort();
  }
}

const { HTTP2_HEADER_AUTHORITY, HTTP2_HEADER_METHOD, HTTP2_HEADER_PATH, HTTP2_HEADER_SCHEME } = constants;

/** Pseudo headers are ours alone: no client can spell a name that begins with a colon (RFC 9110 section 5.1). */
function requestHeaders({ method, path, headers }: Http2DispatchOptions, scheme: string): string[] {
  const fields: string[] = [];
  let authority = 'localhost';
  const given = Array.isArray(headers) ? (headers as string[]) : Object.entries(headers ?? {}).flat();
  for (let at = 0; at < given.length; at += 2) {
    const name = String(given[at]).toLowerCase();
    const value = String(given[at + 1]);
    if (name === 'host') authority = value;
    else fields.push(name, value);
  }
  return [
    ...[HTTP2_HEADER_METHOD, method, HTTP2_HEADER_SCHEME, scheme],
    ...[HTTP2_HEADER_AUTHORITY, authority, HTTP2_HEADER_PATH, path],
    ...fields,
  ];
}

function answerHeaders(rawHeaders: readonly string[]): Buffer[] {
  const headers: Buffer[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (!name.startsWith(':'))
      headers.push(Buffer.from(name, 'latin1'), Buffer.from(rawHeaders[at + 1] as string, 'latin1'));
  }
  return headers;
}
