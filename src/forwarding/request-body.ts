// The client's body on its way to an upstream: given up when an exchange fails, while the client's connection stays for
// the answer that says what went wrong.
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { GatewayError } from '../errors.ts';

export interface BodyLimits {
  /** Longest silence of the client while its body is waited for. */
  readonly idleMs: number;
  /** In bytes; any length when undefined. */
  readonly maxBytes: number | undefined;
  /** Called whenever some of it has come. */
  readonly onProgress: () => void;
}

/** Fails with a {@link GatewayError} when the client stalls or sends too much. */
export class RequestBody extends Readable {
  readonly #request: IncomingMessage;
  readonly #limits: BodyLimits;
  #received = 0;
  #isAwaited = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(request: IncomingMessage, limits: BodyLimits) {
    super();
    this.#request = request;
    this.#limits = limits;
    // Nobody listens once its exchange is over; an error after that would end the process.
    this.on('error', () => {});
    request.on('data', this.#onData);
    request.on('end', this.#onEnd);
    request.on('close', this.#onClose);
    request.pause();
  }

  /** Only a client that is waited for can stall: an upstream that does not read is another matter. */
  get awaitsClient(): boolean {
    return this.#isAwaited && !this.#request.complete;
  }

  override _read(): void {
    this.#isAwaited = true;
    this.#request.resume();
    if (this.#request.complete) return;
    if (this.#timer) this.#timer.refresh();
    else this.#timer = setTimeout(this.#onSilence, this.#limits.idleMs);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#request.off('data', this.#onData);
    this.#request.off('end', this.#onEnd);
    this.#request.off('close', this.#onClose);
    if (!this.#request.complete) this.#request.pause();
    callback(error);
  }

  #onData = (chunk: Buffer): void => {
    this.#received += chunk.length;
    const { maxBytes } = this.#limits;
    if (maxBytes !== undefined && this.#received > maxBytes) {
      this.destroy(new GatewayError('body-too-large'));
      return;
    }
    this.#timer?.refresh();
    this.#limits.onProgress();
    if (this.push(chunk)) return;
    this.#isAwaited = false;
    this.#request.pause();
  };

  #onEnd = (): void => {
    if (this.#timer) clearTimeout(this.#timer);
    this.#limits.onProgress();
    this.push(null);
  };

  #onClose = (): void => {
    if (!this.#request.complete) this.destroy(new Error('The client went away within its body'));
  };

  #onSilence = (): void => {
    if (this.awaitsClient)
      this.destroy(new GatewayError('bad-request', { detail: 'The body stopped arriving.' }));
  };
}

/** A body is announced by a length or an encoding; a length of 0 announces none. */
export function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length'];
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/** Does the client hold its body back until it is told 100 (RFC 9110 section 10.1.1)? Other expectations are passed over. */
export function awaitsContinue({ headers, httpVersionMinor }: IncomingMessage): boolean {
  return headers.expect !== undefined && httpVersionMinor === 1 && /\b100-continue\b/i.test(headers.expect);
}
