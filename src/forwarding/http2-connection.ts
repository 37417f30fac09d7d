// One HTTP/2 connection, from the first byte to the last.
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { connect as connectPlainly, isIP, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import { errors } from 'undici';
import type { TlsFiles } from './tls.ts';

export interface Http2ConnectionOptions {
  /** `https:` is HTTP/2 over TLS, `http:` without it and known beforehand (RFC 9113 section 3.3). */
  readonly origin: string;
  readonly socketPath: string | undefined;
  readonly tls: TlsFiles & { readonly servername?: string };
  /** Milliseconds until the target has shown that it speaks HTTP/2. */
  readonly connectMs: number;
  /** How long an idle one is kept. */
  readonly keepAliveMs: number;
  /** How long one is given further streams. */
  readonly lifeMs: number;
}

/** On one connection, where the target would allow even more. */
const MOST_STREAMS = 512;
/** Bytes under way to us, of one stream and of all: a slow client holds back its own stream alone. */
const STREAM_WINDOW = 256 * 1024;
const CONNECTION_WINDOW = 4 * 1024 * 1024;
const MAX_RESPONSE_HEADER_BYTES = 64 * 1024;
/** As over HTTP/1.1; node:http2 would take 128. */
const MOST_HEADERS = 2000;
const MOST_MEGABYTES = 256;

const SESSION_OPTIONS = {
  settings: {
    enablePush: false,
    initialWindowSize: STREAM_WINDOW,
    maxHeaderListSize: MAX_RESPONSE_HEADER_BYTES,
  },
  maxHeaderListPairs: MOST_HEADERS,
  maxSessionMemory: MOST_MEGABYTES,
  // What a client repeats is the service's to judge.
  strictSingleValueFields: false,
};
const SOCKET_OPTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 };

export class Http2Connection {
  readonly session: ClientHttp2Session;
  /** Until the target has sent its settings: then it speaks HTTP/2, and has told how many streams it allows. */
  isOpening = true;
  mostStreams = 0;
  #streams = 0;
  #fault: Error | null = null;
  #isRetired = false;
  /** The last stream the target has taken, where it has said that it takes no more. */
  #lastStream = Number.POSITIVE_INFINITY;
  readonly #socket: Socket;
  readonly #keepAliveMs: number;
  readonly #onRoom: () => void;
  readonly #life: NodeJS.Timeout;
  #idle: NodeJS.Timeout | null = null;

  /** @param onRoom there may be room for another stream, or none at all any more */
  constructor(options: Http2ConnectionOptions, onRoom: () => void) {
    const { origin, connectMs, keepAliveMs, lifeMs } = options;
    const socket = openSocket(options);
    const session = connect(origin, { ...SESSION_OPTIONS, createConnection: () => socket });
    this.session = session;
    this.#socket = socket;
    this.#keepAliveMs = keepAliveMs;
    this.#onRoom = onRoom;
    const opening = setTimeout(() => socket.destroy(new errors.ConnectTimeoutError()), connectMs);
    this.#life = setTimeout(() => this.retire(), lifeMs).unref();
    session.on('remoteSettings', ({ maxConcurrentStreams = MOST_STREAMS }) => {
      clearTimeout(opening);
      if (this.isOpening) session.setLocalWindowSize(CONNECTION_WINDOW);
      this.isOpening = false;
      this.mostStreams = Math.min(maxConcurrentStreams, MOST_STREAMS);
      clearTimeout(this.#idle ?? undefined);
      this.#rest();
    });
    session.on('goaway', (_code, lastStream) => {
      this.#lastStream = lastStream;
      this.#isRetired = true;
    });
    // After its first error, too: an error that nobody listens to would end the process.
    session.on('error', (error: Error) => {
      this.#fault ??= error;
    });
    // A server that wants a certificate of ours says so behind the handshake: node:http2 does not hear of it.
    socket.on('error', (error) => {
      this.#fault ??= error;
      socket.destroy();
    });
    session.once('close', () => {
      for (const timer of [opening, this.#life, this.#idle]) clearTimeout(timer ?? undefined);
    });
  }

  get hasRoom(): boolean {
    return !this.isOpening && this.isUsable && this.#streams < this.mostStreams;
  }

  get isIdle(): boolean {
    return !this.isOpening && this.#streams === 0;
  }

  /** Null while it is not open. */
  get address(): string | null {
    return this.isOpening ? null : (this.#socket.remoteAddress ?? '');
  }

  /** May further streams begin? */
  get isUsable(): boolean {
    return !this.#isRetired && !this.session.closed && !this.session.destroyed;
  }

  /** Why it was closed. */
  get fault(): Error {
    return this.#fault ?? new errors.SocketError('The connection was closed');
  }

  /** The target has not begun to work on this stream (RFC 9113 sections 6.8 and 8.7). */
  hasRefused({ id, rstCode }: ClientHttp2Stream): boolean {
    return id === undefined || rstCode === REFUSED_STREAM || id > this.#lastStream;
  }

  /** @throws what node:http2 throws; nothing has been sent then */
  request(headers: readonly string[], endStream: boolean, signal: AbortSignal): ClientHttp2Stream {
    const stream = this.session.request(headers, { endStream, signal });
    clearTimeout(this.#idle ?? undefined);
    this.#streams++;
    stream.once('close', () => {
      this.#streams--;
      this.#rest();
      this.#onRoom();
    });
    return stream;
  }

  #rest(): void {
    if (this.#streams === 0 && !this.session.closed)
      this.#idle = setTimeout(() => this.retire(), this.#keepAliveMs).unref();
  }

  destroy(): void {
    this.session.destroy();
    this.#socket.destroy();
  }

  /** Streams under way come to their end; no further one begins. */
  retire(): void {
    this.#isRetired = true;
    if (!this.session.closed) this.session.close();
  }
}

const REFUSED_STREAM = 7;

function openSocket({ origin, socketPath, tls }: Http2ConnectionOptions): Socket {
  if (socketPath !== undefined) return connectPlainly({ path: socketPath });
  const url = new URL(origin);
  const isSecure = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const to = { ...SOCKET_OPTIONS, host, port: Number(url.port) || (isSecure ? 443 : 80) };
  if (!isSecure) return connectPlainly(to);
  const servername = tls.servername ?? (isIP(host) === 0 ? host : undefined);
  return connectSecurely({ ...to, ...tls, servername, ALPNProtocols: ['h2'], rejectUnauthorized: true });
}
