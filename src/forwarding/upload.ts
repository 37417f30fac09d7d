// The body of a request on its way into an HTTP/1.1 connection, no faster than the target reads it.
import type { Socket } from 'node:net';
import { errors } from 'undici';
import type { RequestBody } from './request-body.ts';
import { lengthIn } from './request-head.ts';

export class Upload {
  /** All of it is written. */
  isOver = false;
  readonly #body: RequestBody;
  readonly #socket: Socket;
  readonly #fail: (error: Error) => void;
  /** Bytes that are still to come; null where it is sent in chunks. */
  #left: number | null;

  constructor(body: RequestBody, headers: readonly string[], socket: Socket, fail: (error: Error) => void) {
    this.#body = body;
    this.#socket = socket;
    this.#fail = fail;
    this.#left = lengthIn(headers);
    socket.on('drain', this.#onDrain);
    body.on('error', fail).on('end', this.#onEnd).on('data', this.#onData);
    // The answer may say more about it than that it failed.
    if (body.destroyed) fail(body.errored ?? new errors.RequestAbortedError());
  }

  /** Nothing more of it is sent. */
  end(): void {
    this.#socket.off('drain', this.#onDrain);
    this.#body.off('error', this.#fail).off('end', this.#onEnd).off('data', this.#onData).pause();
  }

  #onData = (chunk: Buffer): void => {
    if (!this.#write(chunk)) this.#body.pause();
  };

  /** @returns whether the target keeps up */
  #write(chunk: Buffer): boolean {
    if (this.#left !== null) {
      this.#left -= chunk.length;
      if (this.#left < 0) this.#fail(new errors.RequestContentLengthMismatchError());
      return this.#left >= 0 && this.#socket.write(chunk);
    }
    this.#socket.cork();
    this.#socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
    this.#socket.write(chunk);
    const keepsUp = this.#socket.write('\r\n', 'latin1');
    this.#socket.uncork();
    return keepsUp;
  }

  #onDrain = (): void => {
    this.#body.resume();
  };

  #onEnd = (): void => {
    this.isOver = true;
    if (this.#left === null) this.#socket.write('0\r\n\r\n', 'latin1');
    else if (this.#left > 0) this.#fail(new errors.RequestContentLengthMismatchError());
  };
}
