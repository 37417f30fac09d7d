// The client's body on its way to an upstream. undici destroys the stream it was given when an exchange fails;
// given the request itself it would take the client's connection along, and the answer that says what went wrong.
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

export class RequestBody extends Readable {
  readonly #request: IncomingMessage;

  constructor(request: IncomingMessage) {
    super();
    this.#request = request;
    // undici stops listening once its exchange is over; an error after that would end the process.
    this.on('error', () => {});
    request.on('data', this.#onData);
    request.on('end', this.#onEnd);
    request.on('close', this.#onClose);
    request.pause();
  }

  override _read(): void {
    this.#request.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#request.off('data', this.#onData);
    this.#request.off('end', this.#onEnd);
    this.#request.off('close', this.#onClose);
    // What the upstream did not want is read and dropped, or the client would not come to read the answer.
    this.#request.resume();
    callback(error);
  }

  #onData = (chunk: Buffer): void => {
    if (!this.push(chunk)) this.#request.pause();
  };

  #onEnd = (): void => {
    this.push(null);
  };

  #onClose = (): void => {
    if (!this.#request.complete) this.destroy(new Error('The client went away within its body'));
  };
}
