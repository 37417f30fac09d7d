// How a request moves: to one target over HTTP/1.1 and its answer back, both streamed, nothing kept.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Dispatcher, errors } from 'undici';
import { GatewayError } from '../errors.ts';
import { NO_COOKIES, SESSION_COOKIES } from '../policy/cookies.ts';
import { RequestBody } from './request-body.ts';
import { buildResponseHeaders } from './response-headers.ts';
import type { Upstream, UpstreamTarget } from './upstream.ts';

/** Limits of the route that override the upstream's. */
export interface ForwardLimits {
  /** Milliseconds from the request to the first line of the answer. */
  readonly headersMs?: number;
  /** Milliseconds of silence within an answer. */
  readonly idleMs?: number;
  readonly maxBodyBytes?: number;
}

/** What the answer's headers depend on beside the upstream. */
export interface ForwardAnswer {
  /** Names and values in turn, instead of the upstream's Access-Control-*; null leaves those as they are. */
  readonly cors: readonly string[] | null;
  /** The upstream was told who is asking. */
  readonly authenticated: boolean;
}

export interface ForwardOptions {
  readonly upstream: Upstream;
  readonly target: UpstreamTarget;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Path and query, exactly as they go on. */
  readonly path: string;
  readonly limits?: ForwardLimits;
  readonly answer?: ForwardAnswer;
  /** How the route changed the path. */
  readonly mount?: { readonly outside: string; readonly inside: string };
  /** Names and values in turn; see request-headers.ts. */
  readonly headers: string[];
  readonly requestId: string;
  /** Set-Cookie lines to add to the answer. */
  readonly ownCookies: readonly string[];
}

/**
 * Resolves when the answer has been handed over or the client has gone. Rejects with a {@link GatewayError} while
 * nothing has been sent yet; a fault after that cuts the connection, so that a cut answer looks cut.
 */
export function forward(options: ForwardOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const { upstream, target, request } = options;
    const body = hasBody(request) ? new RequestBody(request) : null;
    const exchange = new Exchange(options, body, resolve, reject);
    try {
      upstream.dispatcher.dispatch(
        {
          origin: target.origin,
          path: options.path,
          method: request.method as Dispatcher.HttpMethod,
          headers: options.headers,
          body,
        },
        exchange,
      );
    } catch (error) {
      body?.destroy();
      reject(new GatewayError('bad-request', { cause: error }));
    }
  });
}

/** A body is announced by a length or an encoding; a length of 0 announces none. */
export function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length'];
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/**
 * undici's callbacks for one exchange. The ones with raw headers are used: they keep spelling, order and
 * repetitions, and save undici parsing what we only pass on.
 */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #options: ForwardOptions;
  readonly #body: RequestBody | null;
  readonly #resolve: () => void;
  readonly #reject: (error: GatewayError) => void;
  #abort: (reason?: Error) => void = () => {};

  constructor(
    options: ForwardOptions,
    body: RequestBody | null,
    resolve: () => void,
    reject: (error: GatewayError) => void,
  ) {
    this.#options = options;
    this.#body = body;
    this.#resolve = resolve;
    this.#reject = reject;
    options.response.once('close', this.#onClientClose);
  }

  onConnect(abort: (reason?: Error) => void): void {
    this.#abort = abort;
    if (this.#options.response.destroyed) abort(new errors.RequestAbortedError());
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void): boolean {
    // Informational answers are between the upstream and us.
    if (status < 200) return true;
    const { response, requestId, ownCookies, upstream } = this.#options;
    if (status > 599) throw new errors.ResponseError('status out of range', status, {});
    const settableCookies = upstream.options.setCookies === 'pass' ? SESSION_COOKIES : NO_COOKIES;
    response.writeHead(status, buildResponseHeaders({ rawHeaders, requestId, settableCookies, ownCookies }));
    // The head goes out at once. Not by flushHeaders(), which writes it as UTF-8: bytes beyond ASCII would double.
    response.write(NOTHING);
    response.on('drain', resume);
    return true;
  }

  onData(chunk: Buffer): boolean {
    return this.#options.response.write(chunk);
  }

  onComplete(): void {
    this.#body?.destroy();
    this.#options.response.end();
    this.#resolve();
  }

  onError(error: Error): void {
    const { response } = this.#options;
    response.off('close', this.#onClientClose);
    this.#body?.destroy();
    if (response.headersSent && isBodiless(response.statusCode, error)) response.end();
    else if (response.headersSent) response.destroy();
    if (response.headersSent || response.destroyed) this.#resolve();
    else this.#reject(upstreamFault(error));
  }

  #onClientClose = (): void => {
    if (!this.#options.response.writableFinished) this.#abort(new errors.RequestAbortedError());
  };
}

/** undici waits for the body whose length a 304 tells; that length is of the answer to a plain GET (RFC 9110 section 8.6). */
function isBodiless(status: number, error: Error): boolean {
  return status === 304 && (error as NodeJS.ErrnoException).code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH';
}

const NOTHING = Buffer.alloc(0);

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
]);
const TIMED_OUT = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT',
]);

function upstreamFault(cause: Error): GatewayError {
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  if (TIMED_OUT.has(code)) return new GatewayError('upstream-timeout', { cause });
  if (UNREACHABLE.has(code) || isTlsFault(code)) return new GatewayError('upstream-unreachable', { cause });
  return new GatewayError('upstream-broken', { cause });
}

function isTlsFault(code: string): boolean {
  return (
    code.startsWith('ERR_TLS') ||
    code.startsWith('ERR_SSL') ||
    code.includes('CERT') ||
    code.includes('ISSUER')
  );
}
