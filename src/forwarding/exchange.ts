// A request on its way and what is told of its answer, whatever is spoken with the target.
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { IdentityHeaders } from './identity-headers.ts';
import type { RequestBody } from './request-body.ts';

export interface OutgoingRequest {
  readonly method: string;
  /** Path and query, exactly as they are sent. */
  readonly path: string;
  /** Names and values in turn, `host` first. */
  readonly headers: readonly string[];
  /** Further ones, of the person. */
  readonly identity: IdentityHeaders;
  readonly body: RequestBody | null;
  /** It asks for a WebSocket. */
  readonly isUpgrade: boolean;
}

/** Told in this order; after onComplete, onUpgrade and onError nothing more is. */
export interface AnswerHandler {
  /** The first byte of the request is about to be sent. @returns false when it shall not be */
  onSending(): boolean;
  /** The first byte of an answer has come. */
  onAnswering(): void;
  /**
   * What it throws ends the exchange.
   *
   * @param rawHeaders names and values in turn, one character a byte
   * @param resume to be called when more of the body is wanted
   * @returns false when nothing of the body is wanted yet
   */
  onHeaders(status: number, rawHeaders: readonly string[], resume: () => void): boolean;
  /** @returns false when nothing more is wanted yet */
  onData(chunk: Buffer): boolean;
  onComplete(): void;
  /** The connection speaks another protocol from now on, and is the handler's. */
  onUpgrade(rawHeaders: readonly string[], socket: Duplex): void;
  onError(error: Error): void;
}

/** Ends an exchange, sent or not, and the connection it is on: onError is told. Nothing once the exchange is over. */
export type Abort = (reason: Error) => void;

/** Sends a request of one reply by way of an undici dispatcher; see http2.ts. */
export type Carry = (request: OutgoingRequest, handler: AnswerHandler, dispatcher: Dispatcher) => Abort;
