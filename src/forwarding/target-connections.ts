// The connections to one target, whatever is spoken on them.
import type { Dispatcher } from 'undici';
import type { Abort, AnswerHandler, Carry, OutgoingRequest } from './exchange.ts';

/** One of them, or a stream on it: carries one request at a time. */
export interface Connection {
  /** Opens it, where it is not open. @param carry where requests go by way of something else */
  send(request: OutgoingRequest, handler: AnswerHandler, carry?: Carry): Abort;
  /** Requests written to it, since it was opened. */
  uses: number;
  /** Null while it is not open. */
  readonly address: string | null;
}

export interface TargetConnections {
  /** One that carries nothing; it is opened with its first request. */
  take(): Connection;
  /** One that nothing was sent on before. */
  takeNew(): Connection;
  /** Its request is over, and it may carry another. */
  giveBack(connection: Connection): void;
  /** Its request is over, and nothing further shall be sent on it. */
  discard(connection: Connection): void;
  /** Those to addresses the target no longer has end as soon as they carry nothing. */
  retire(isOutdated: (connection: Pick<Connection, 'address'>) => boolean): void;
  /** New ones, beside those for requests. */
  openForChecks(): Dispatcher;
  readonly open: number;
  readonly idle: number;
  close(): Promise<unknown>;
}
