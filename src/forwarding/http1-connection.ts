// An HTTP/1.1 connection to a target. One request at a time, its answer told as it comes, and nothing assumed of a
// server that breaks the rules: what it says out of turn ends the connection.
import type { Socket } from 'node:net';
import { type buildConnector, errors } from 'undici';
import { type AnswerHead, checkBeginning, readHead } from './answer-head.ts';
import { ChunkedBody } from './chunked-body.ts';
import type { Abort, AnswerHandler, OutgoingRequest } from './exchange.ts';
import { requestHead } from './request-head.ts';
import type { Connection } from './target-connections.ts';
import { Upload } from './upload.ts';

export type Connect = (done: buildConnector.Callback) => void;

const MOST_HEAD_BYTES = 64 * 1024;
const END_OF_HEAD = '\r\n\r\n';

export class Http1Connection implements Connection {
  uses = 0;
  address: string | null = null;
  /** `performance.now()` */
  openedAt = 0;
  /** `performance.now()` until which an idle one may be used. */
  usableUntil = Number.POSITIVE_INFINITY;
  isIdle = false;
  /** It carries no further request. */
  isRetired = false;
  /** How long the target keeps it while it is idle, in ms; null when it did not say. */
  keepAliveMs: number | null = null;
  readonly #connect: Connect;
  readonly #onClose: (connection: Http1Connection) => void;
  #socket: Socket | null = null;
  #request: OutgoingRequest | null = null;
  #handler: AnswerHandler | null = null;
  #upload: Upload | null = null;
  /** What has come and is not read yet. */
  #unread: Buffer | null = null;
  #hasAnswerBegun = false;
  /** Null until the head is read. */
  #head: AnswerHead | null = null;
  #left = 0;
  #chunks: ChunkedBody | null = null;
  #isPaused = false;
  /** The target has said all it will ever say. */
  #hasEnded = false;
  #isDestroyed = false;

  /** @param onClose called when it is no longer open, whatever it carried */
  constructor(connect: Connect, onClose: (connection: Http1Connection) => void) {
    this.#connect = connect;
    this.#onClose = onClose;
  }

  send(request: OutgoingRequest, handler: AnswerHandler): Abort {
    this.#request = request;
    this.#handler = handler;
    try {
      if (this.#socket === null) this.#open();
      else this.#begin(this.#socket);
    } catch (error) {
      this.#fail(error as Error);
    }
    // Whoever has had its answer must not end the one that comes after it.
    return (reason) => {
      if (this.#handler === handler) this.#fail(reason);
    };
  }

  /** Can it carry another request? */
  get isUsable(): boolean {
    return !this.#isDestroyed && !this.isRetired && this.#socket !== null && this.#handler === null;
  }

  destroy(): void {
    this.#fail(new errors.ClientDestroyedError());
  }

  #open(): void {
    this.#connect((...[error, socket]: Parameters<buildConnector.Callback>) => {
      if (error !== null) this.#fail(error);
      else if (this.#isDestroyed) socket.on('error', () => {}).destroy();
      else this.#use(socket);
    });
  }

  #use(socket: Socket): void {
    this.#socket = socket;
    this.address = socket.remoteAddress ?? '';
    this.openedAt = performance.now();
    leaveWriteFailures(socket);
    socket.on('data', this.#onBytes).on('end', this.#onEnd);
    socket.on('error', this.#fail).on('close', this.#onSocketClose);
    try {
      this.#begin(socket);
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #begin(socket: Socket): void {
    const [request, handler] = [this.#request, this.#handler];
    if (request === null || handler === null) return;
    this.#hasAnswerBegun = false;
    this.#head = null;
    this.#chunks = null;
    const head = requestHead(request);
    if (head === null) {
      this.#fail(new errors.InvalidArgumentError('A header is no text for one line'));
      return;
    }
    if (!handler.onSending()) {
      this.#fail(new errors.RequestAbortedError());
      return;
    }
    // What is here of the body already goes along with the head.
    if (request.body !== null) corkForATurn(socket);
    socket.write(head, 'latin1');
    if (request.body !== null) this.#upload = new Upload(request.body, request.headers, socket, this.#fail);
  }

  #onBytes = (bytes: Buffer): void => {
    this.#unread = this.#unread === null ? bytes : Buffer.concat([this.#unread, bytes]);
    // Nobody has asked: whatever this is, it must not pass for the answer to the next request.
    if (this.#handler === null) this.#fail(new errors.SocketError('It spoke out of turn'));
    else this.#read();
  };

  #read(): void {
    try {
      while (this.#handler !== null && this.#unread !== null && !this.#isPaused)
        if (!(this.#head === null ? this.#readHead(this.#unread) : this.#readBody(this.#unread))) break;
    } catch (error) {
      this.#fail(error as Error);
    }
    if (this.#hasEnded && !this.#isPaused) this.#onEnd();
  }

  /** @returns false when more of it must come first */
  #readHead(bytes: Buffer): boolean {
    if (!this.#hasAnswerBegun) this.#handler?.onAnswering();
    this.#hasAnswerBegun = true;
    const end = bytes.indexOf(END_OF_HEAD, 0, 'latin1');
    if (end === -1 ? bytes.length > MOST_HEAD_BYTES : end > MOST_HEAD_BYTES)
      throw new errors.HeadersOverflowError();
    if (end === -1) {
      checkBeginning(bytes.toString('latin1'));
      return false;
    }
    const head = readHead(bytes.toString('latin1', 0, end + 2), this.#request?.method ?? '');
    this.#unread = rest(bytes, end + END_OF_HEAD.length);
    if (head.status === 101) this.#upgrade(head);
    // What is said before the answer is between the target and us.
    else if (head.status >= 200) this.#beginBody(head);
    return true;
  }

  #beginBody(head: AnswerHead): void {
    this.#head = head;
    this.keepAliveMs = head.keepAliveMs;
    this.#left = typeof head.body === 'number' ? head.body : Number.POSITIVE_INFINITY;
    if (head.body === 'chunked') this.#chunks = new ChunkedBody();
    const handler = this.#handler;
    if (handler === null) return;
    // Whoever was slow with the answer before must not hurry this one.
    const resume = () => this.#handler === handler && this.#resume();
    if (!handler.onHeaders(head.status, head.rawHeaders, resume)) this.#pause();
    if (this.#left === 0) this.#complete();
  }

  /** @returns false when more of it must come first */
  #readBody(bytes: Buffer): boolean {
    if (this.#chunks !== null) return this.#readChunk(bytes, this.#chunks);
    const data = bytes.length <= this.#left ? bytes : bytes.subarray(0, this.#left);
    this.#unread = rest(bytes, data.length);
    this.#left -= data.length;
    this.#pass(data);
    if (this.#left === 0) this.#complete();
    return true;
  }

  #readChunk(bytes: Buffer, chunks: ChunkedBody): boolean {
    const { read, data } = chunks.read(bytes);
    this.#unread = rest(bytes, read);
    if (data !== null) this.#pass(data);
    if (chunks.isOver) this.#complete();
    return true;
  }

  #pass(data: Buffer): void {
    if (this.#handler?.onData(data) === false) this.#pause();
  }

  #pause(): void {
    this.#isPaused = true;
    this.#socket?.pause();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#read();
    if (!this.#isPaused) this.#socket?.resume();
  }

  #complete(): void {
    const handler = this.#handler;
    if (handler === null) return;
    const isAllSent = this.#upload?.isOver ?? true;
    // What was sent behind the answer would pass for the next one.
    const isInOrder = this.#unread === null && isAllSent && !this.#request?.isUpgrade;
    if (!isInOrder || this.#head?.keepsAlive !== true) this.isRetired = true;
    this.#leave();
    handler.onComplete();
  }

  #upgrade({ rawHeaders }: AnswerHead): void {
    const [handler, socket] = [this.#handler, this.#socket];
    if (!this.#request?.isUpgrade || handler === null || socket === null)
      throw new errors.SocketError('It changed the protocol, and nobody had asked it to');
    const behind = this.#unread;
    this.#leave();
    this.#isDestroyed = true;
    this.#onClose(this);
    socket.off('data', this.#onBytes).off('end', this.#onEnd).off('error', this.#fail);
    socket.off('close', this.#onSocketClose).pause();
    takeWriteFailures(socket);
    if (behind !== null) socket.unshift(behind);
    handler.onUpgrade(rawHeaders, socket);
  }

  /** Nothing further is told of the request. */
  #leave(): void {
    this.#upload?.end();
    this.#upload = null;
    this.#handler = null;
    this.#request = null;
    this.#unread = null;
    if (this.#isPaused) this.#socket?.resume();
    this.#isPaused = false;
  }

  #onEnd = (): void => {
    this.#hasEnded = true;
    if (this.#isPaused) return;
    if (this.#head?.body === 'until-close') this.#complete();
    this.#fail(new errors.SocketError('other side closed'));
  };

  #onSocketClose = (): void => {
    // What has come of an answer that is waited with is still to be told.
    if (!(this.#hasEnded && this.#isPaused)) this.#fail(new errors.SocketError('closed'));
  };

  #fail = (error: Error): void => {
    const handler = this.#handler;
    if (this.#isDestroyed && handler === null) return;
    this.#isDestroyed = true;
    this.isRetired = true;
    this.#leave();
    this.#socket?.destroy();
    this.#onClose(this);
    handler?.onError(error);
  };
}

function corkForATurn(socket: Socket): void {
  socket.cork();
  setImmediate(() => socket.uncork());
}

function rest(bytes: Buffer, from: number): Buffer | null {
  return from === bytes.length ? null : bytes.subarray(from);
}

type WriteDone = (error?: Error | null) => void;

/**
 * A target that answers within an upload and closes makes our writes fail; node:net would drop the connection with the
 * answer on it unread. A write that finds it closed never ends: end or reset is what the reading side will report.
 */
function leaveWriteFailures(socket: Socket): void {
  const { _write, _writev } = socket;
  socket._write = (chunk, encoding, done) => _write.call(socket, chunk, encoding, unlessClosed(done));
  if (_writev) socket._writev = (chunks, done) => _writev.call(socket, chunks, unlessClosed(done));
}

/** For a connection that is no longer HTTP: failures count again on whichever side they are found. */
function takeWriteFailures(socket: Socket): void {
  for (const name of ['_write', '_writev']) Reflect.deleteProperty(socket, name);
}

function unlessClosed(done: WriteDone): WriteDone {
  return (error) => {
    const code = (error as NodeJS.ErrnoException | null | undefined)?.code;
    if (code !== 'EPIPE' && code !== 'ECONNRESET') done(error);
  };
}
