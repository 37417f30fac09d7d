// How a request moves: to one target over HTTP/1.1, or by way of http2.ts, and its answer back, both streamed, nothing
// kept.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { nextTick } from 'node:process';
import type { Duplex } from 'node:stream';
import { errors } from 'undici';
import { GatewayError } from '../errors.ts';
import { NO_COOKIES, SESSION_COOKIES } from '../policy/cookies.ts';
import { isSafeMethod } from '../policy/cross-site.ts';
import type { Abort, AnswerHandler, Carry, OutgoingRequest } from './exchange.ts';
import { faultOf, upstreamFault } from './faults.ts';
import { saysGitHubRefused, type TokenWatch } from './github-status.ts';
import { type Headed, sendHeadSoon } from './heads.ts';
import type { IdentityHeaders } from './identity-headers.ts';
import type { Silenceable } from './idle.ts';
import type { Mount } from './location.ts';
import { awaitsContinue, hasBody, RequestBody } from './request-body.ts';
import { type AnswerPolicy, buildResponseHeaders, withoutLength } from './response-headers.ts';
import {
  EventBoundary,
  finalEvent,
  type Goodbye,
  type OnStream,
  type StreamKind,
  streamKind,
} from './streams.ts';
import type { Target } from './target.ts';
import type { Connection } from './target-connections.ts';
import { closeAfterEarlyAnswer, dropRest, endWithConnection } from './unread-body.ts';
import type { Upstream } from './upstream.ts';
import { joinWebSocket, type Upgrade } from './websocket.ts';

/** Limits of the route that override the upstream's. */
export interface ForwardLimits {
  /** Milliseconds from the request to the whole head of the answer. */
  readonly headersMs?: number;
  /** Milliseconds of silence within the answer, and within the body of a request. */
  readonly idleMs?: number;
  /** Milliseconds of silence of an event stream or WebSocket. */
  readonly streamMs?: number;
  readonly maxBodyBytes?: number;
}

export interface ForwardOptions {
  readonly upstream: Upstream;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Path and query, exactly as they go on. */
  readonly path: string;
  /** Names and values in turn, `host` first, whose value is filled in here; see request-headers.ts. */
  readonly headers: string[];
  /** Headers that announce the person, GitHub token included. */
  readonly identity: IdentityHeaders;
  readonly requestId: string;
  /** Set-Cookie lines to add to the answer. */
  readonly ownCookies: readonly string[];
  /** What the route and the decision say about the answer. */
  readonly answer?: AnswerPolicy;
  /** How the route changed the path: redirects are changed back. */
  readonly mount?: Mount;
  /** Of the route, where they differ from the upstream's. */
  readonly limits?: ForwardLimits;
  /** Told of answers that stay open; see streams.ts. */
  readonly onStream?: OnStream;
  /** Event streams that are ended are told why. */
  readonly finalEvent?: boolean;
  /** The connection behind a WebSocket handshake. */
  readonly upgrade?: Upgrade | null;
  /** Of a person whose GitHub token goes along. */
  readonly token?: TokenWatch | null;
  /** By way of what a request goes, where not at once; see http2.ts. */
  readonly carry?: Carry;
}

/**
 * Resolves when the answer has been handed over or the client has gone. Rejects with a {@link GatewayError} while
 * nothing has been sent yet; a fault after that cuts the connection, so that a cut answer looks cut.
 */
export function forward(options: ForwardOptions): Promise<void> {
  return new Promise((resolve, reject) => new Exchange(options, resolve, reject).begin());
}

class Exchange implements AnswerHandler, Headed, Silenceable {
  readonly #options: ForwardOptions;
  readonly #body: RequestBody | null;
  readonly #resolve: () => void;
  readonly #reject: (error: GatewayError) => void;
  /** Where the request has a place, until it gives it back. */
  #target: Target | null = null;
  #connection: Connection | null = null;
  #isPlaceTaken = false;
  /** From here on bytes of the request may be with the target. */
  #isUnderWay = false;
  #hasAnswerBegun = false;
  #isHeadSent = false;
  #resume: () => void = () => {};
  /** How often it was sent to another target, and on another connection: each at most once. */
  #turns = 0;
  #repeats = 0;
  #abort: Abort = () => {};
  #release: (() => void) | null = null;
  #events: EventBoundary | null = null;
  /** An answer that waits for what GitHub says of the token. */
  #held: { isComplete: boolean } | null = null;
  #isOver = false;
  idleMs = 0;
  lastSeen = 0;
  watchedAt = -1;

  constructor(options: ForwardOptions, resolve: () => void, reject: (error: GatewayError) => void) {
    const { request, response, limits, upstream } = options;
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#body = hasBody(request)
      ? new RequestBody(request, {
          idleMs: limits?.idleMs ?? upstream.options.timeouts.idle,
          maxBytes: limits?.maxBodyBytes,
          onProgress: () => this.#noteProgress(),
        })
      : null;
    response.on('close', this.#onClientClose);
  }

  begin(): void {
    const { request, limits, upstream } = this.#options;
    const length = request.headers['content-length'];
    if (limits?.maxBodyBytes !== undefined && Number(length) > limits.maxBodyBytes) {
      this.onError(new GatewayError('body-too-large'));
      return;
    }
    const target = upstream.take();
    if (target === null) void this.#wait();
    else this.#sendTo(target, target.connections.take());
  }

  async #wait(): Promise<void> {
    const { upstream, response } = this.#options;
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    try {
      const target = await upstream.wait(gone.signal);
      this.#sendTo(target, target.connections.take());
    } catch (error) {
      this.onError(error as Error);
    }
  }

  #sendTo(target: Target, connection: Connection): void {
    const { request, path, headers, identity, limits, upgrade, carry, upstream } = this.#options;
    this.#target = target;
    this.#connection = connection;
    this.#isPlaceTaken = true;
    this.#isUnderWay = false;
    headers[1] = target.host;
    this.idleMs = limits?.headersMs ?? upstream.options.timeouts.headers;
    upstream.idle.add(this);
    const outgoing: OutgoingRequest = {
      method: request.method ?? '',
      path,
      headers,
      identity,
      body: this.#body,
      isUpgrade: Boolean(upgrade),
    };
    const abort = connection.send(outgoing, this, carry);
    // It may be with another by now.
    if (this.#connection === connection) this.#abort = abort;
  }

  /** Others may have its place from now on. */
  #giveUpPlace(): void {
    if (!this.#isPlaceTaken) return;
    this.#isPlaceTaken = false;
    this.#target?.release();
  }

  onSending(): boolean {
    const { request, response } = this.#options;
    if (response.destroyed) return false;
    this.#isUnderWay = true;
    if (this.#connection !== null) this.#connection.uses++;
    if (this.#body !== null && awaitsContinue(request)) response.writeContinue();
    return true;
  }

  onAnswering(): void {
    this.#hasAnswerBegun = true;
  }

  onHeaders(status: number, rawHeaders: readonly string[], resume: () => void): boolean {
    const { request, response, upstream } = this.#options;
    this.#target?.answered();
    if (status > 599) throw new errors.ResponseError('status out of range', status, {});
    if (rawHeaders.length > 2 * MOST_HEADERS) throw new errors.HeadersOverflowError();
    const { token } = this.#options;
    if (token && this.#held === null && saysGitHubRefused(status, rawHeaders, this.#target?.origin, token))
      return this.#hold(status, rawHeaders, resume, token);
    const built = this.#headersOf(rawHeaders);
    const headers = status === 204 ? withoutLength(built) : built;
    this.#watch(rawHeaders);
    if (this.#body !== null) closeAfterEarlyAnswer(request, response);
    response.writeHead(status, headers);
    upstream.idle.add(this);
    this.#resume = resume;
    sendHeadSoon(this);
    return true;
  }

  sendHead(): void {
    const { response } = this.#options;
    // Not by flushHeaders(), which writes it as UTF-8: bytes beyond ASCII would double.
    if (!this.#isHeadSent && !response.writableEnded && !response.destroyed) response.write(NOTHING);
  }

  /** An answer that fails is passed on once it is known whether the token is to blame; others do not wait. */
  #hold(status: number, rawHeaders: readonly string[], resume: () => void, token: TokenWatch): boolean {
    const held = { isComplete: false };
    this.#held = held;
    this.#options.upstream.idle.delete(this);
    const waiting = token.refusal();
    if (status < 400) return this.onHeaders(status, rawHeaders, resume);
    const end = (error: Error) => (held.isComplete ? this.onError(error) : this.#abort(error));
    const pass = () => {
      this.onHeaders(status, rawHeaders, resume);
      if (held.isComplete) this.onComplete();
      else resume();
    };
    void waiting
      .then((refusal) => {
        if (!this.#isOver) refusal ? end(refusal) : pass();
      })
      .catch(end);
    return false;
  }

  #headersOf(rawHeaders: readonly string[]): string[] {
    const { requestId, ownCookies, upstream, answer, mount } = this.#options;
    const settableCookies = upstream.options.setCookies === 'pass' ? SESSION_COOKIES : NO_COOKIES;
    const { targets } = upstream;
    return buildResponseHeaders({
      rawHeaders,
      requestId,
      settableCookies,
      ownCookies,
      answer,
      targets,
      mount,
    });
  }

  /** @throws {GatewayError} when there may be no further stream */
  #watch(rawHeaders: readonly string[]): void {
    const kind = streamKind(rawHeaders);
    const { limits, upstream, onStream, finalEvent } = this.#options;
    const { timeouts } = upstream.options;
    const isStream = kind === 'event-stream';
    this.idleMs = isStream ? (limits?.streamMs ?? timeouts.stream) : (limits?.idleMs ?? timeouts.idle);
    // Streams have limits of their own.
    if (isStream) this.#giveUpPlace();
    if (kind === null || onStream === undefined) return;
    this.#release = onStream(kind, (goodbye) => this.#end(kind, goodbye));
    if (isStream && finalEvent) this.#events = new EventBoundary(rawHeaders);
  }

  /** What is no stream of events must look cut. */
  #end(kind: StreamKind, goodbye: Goodbye): void {
    const { response } = this.#options;
    if (kind === 'event-stream' && response.headersSent) {
      if (this.#events?.isBetween) response.write(finalEvent(goodbye));
      endWithConnection(response);
    }
    this.#abort(new errors.RequestAbortedError(goodbye.reason));
  }

  onUpgrade(rawHeaders: readonly string[], upstreamSocket: Duplex): void {
    const { request, response, upgrade, limits, upstream, onStream = () => () => {} } = this.#options;
    response.off('close', this.#onClientClose);
    this.#target?.answered();
    this.#leave();
    const idleMs = limits?.streamMs ?? upstream.options.timeouts.stream;
    try {
      if (!upgrade) throw new GatewayError('upstream-broken');
      const headers = this.#headersOf(rawHeaders);
      const sides = { upgrade, upstream: upstreamSocket, idleMs, onStream };
      joinWebSocket({ ...sides, request, response, rawHeaders, headers });
      this.#resolve();
    } catch (error) {
      upstreamSocket.destroy();
      this.#reject(
        error instanceof GatewayError ? error : new GatewayError('upstream-broken', { cause: error }),
      );
    }
  }

  onData(chunk: Buffer): boolean {
    this.lastSeen = this.#options.upstream.idle.now;
    this.#events?.push(chunk);
    const { response } = this.#options;
    // Text is written in one piece with the head; a buffer would be a second.
    const isFlowing =
      this.#isHeadSent || chunk.length > MOST_TEXT_BYTES
        ? response.write(chunk)
        : response.write(chunk.toString('latin1'), 'latin1');
    this.#isHeadSent = true;
    // What is written in this turn is with the system before more comes, where the client keeps up.
    if (isFlowing || response.writableLength < MOST_WAITING_BYTES) return true;
    response.once('drain', () => this.#onDrain());
    return false;
  }

  #onDrain(): void {
    this.#noteProgress();
    this.#resume();
  }

  onSilence(): void {
    if (this.#options.response.headersSent) this.#abort(new errors.BodyTimeoutError());
    // While the client still sends, it is the client that is waited for; see request-body.ts.
    else if (this.#body?.awaitsClient) this.#noteProgress();
    else this.#abort(new errors.HeadersTimeoutError());
  }

  #noteProgress(): void {
    this.lastSeen = this.#options.upstream.idle.now;
  }

  #leave(): void {
    this.#options.upstream.idle.delete(this);
    this.#release?.();
    this.#release = null;
    if (this.#connection !== null) this.#target?.connections.discard(this.#connection);
    this.#connection = null;
    this.#giveUpPlace();
  }

  onComplete(): void {
    if (this.#connection !== null) this.#target?.connections.giveBack(this.#connection);
    this.#connection = null;
    if (this.#held !== null && !this.#options.response.headersSent) {
      this.#held.isComplete = true;
      return;
    }
    this.#leave();
    this.#endBody();
    // Behind what was written in this turn, which an end would make two pieces of.
    if (this.#isHeadSent) nextTick(end, this.#options.response);
    else this.#options.response.end();
    this.#resolve();
  }

  onError(error: Error): void {
    const { response } = this.#options;
    if (this.#isSentAgain(error)) return;
    this.#isOver = true;
    this.#leave();
    response.off('close', this.#onClientClose);
    if (response.headersSent && !response.writableEnded) response.destroy();
    this.#body?.destroy();
    if (response.headersSent || response.destroyed) this.#resolve();
    else this.#reject(error instanceof GatewayError ? error : upstreamFault(error, this.#isUnderWay));
  }

  #endBody(): void {
    if (this.#body === null) return;
    this.#body.destroy();
    dropRest(this.#options.request);
  }

  /** Is the fault one of the connection, and can the request do without it? */
  #isSentAgain(error: Error): boolean {
    const { response } = this.#options;
    const target = this.#target;
    const connection = this.#connection;
    if (target === null || connection === null || response.headersSent) return false;
    const fault = faultOf(error, this.#isUnderWay, connection);
    if (fault === 'connect' || fault === 'silence') target.failed();
    // Nobody can be sent a body that was given up.
    if (response.destroyed || this.#body?.destroyed) return false;
    if (fault === 'connect') return this.#turns++ === 0 && this.#turnsToAnother(target);
    if (fault !== 'closed' || (this.#isUnderWay && !this.#isRepeatable)) return false;
    if (this.#isUnderWay && connection.uses === 1) return this.#turns++ === 0 && this.#turnsToAnother(target);
    return this.#repeats++ === 0 && this.#repeat(target);
  }

  /**
   * A connection that was idle may have been closed by the target just as the request went out (RFC 9112 section 9.3.1).
   * What changes nothing is sent once more then, on a new one, or to another target where it was the first on its
   * connection. Of anything else nobody knows whether it was received.
   */
  get #isRepeatable(): boolean {
    const { request, upgrade } = this.#options;
    return !this.#hasAnswerBegun && !upgrade && this.#body === null && isSafeMethod(request.method ?? '');
  }

  #turnsToAnother(target: Target): boolean {
    const other = this.#options.upstream.take(target);
    if (other === null) return false;
    this.#leave();
    this.#options.upstream.retries++;
    this.#sendTo(other, other.connections.take());
    return true;
  }

  /** Its place is kept. */
  #repeat(target: Target): boolean {
    if (this.#connection !== null) target.connections.discard(this.#connection);
    this.#options.upstream.retries++;
    this.#sendTo(target, target.connections.takeNew());
    return true;
  }

  #onClientClose = (): void => {
    if (!this.#options.response.writableFinished) this.#abort(new errors.RequestAbortedError());
  };
}

function end(response: ServerResponse): void {
  response.end();
}

const NOTHING = Buffer.alloc(0);
const MOST_TEXT_BYTES = 16 * 1024;
/** Of an answer, for a client that does not keep up. */
const MOST_WAITING_BYTES = 128 * 1024;
const MOST_HEADERS = 2000;
