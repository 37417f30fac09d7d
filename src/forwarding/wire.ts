// What undici does otherwise on its connections than a gateway must, mended at the one documented place where it
// shows its socket: the channel undici:client:sendHeaders, just before a request's first byte.
// - The head of a request with a body waits there for the first byte of the body. Here it goes at once.
// - An upstream that answers within an upload and closes makes our writes fail; undici then drops the connection with
//   the answer on it unread. Here such a failure is left to the reading side, which comes to the answer first.
// - The interim status 100 is taken for a broken answer. Here it passes as 102, which undici skips (RFC 9110, 15.2).
import { subscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { RequestBody } from './request-body.ts';

interface Sending {
  readonly request: { readonly body: unknown; readonly contentLength: number | null };
  /** Request line and headers, without the framing and the empty line. */
  readonly headers: string;
  readonly socket: Mended;
}

/** True until the head of the final answer has begun to arrive. */
const AWAITS = Symbol('awaits');

type Mended = Socket & { [AWAITS]?: boolean };

// fetch() sends on the same channel: its requests have bodies of other kinds, and no harm is done to them.
subscribe('undici:client:sendHeaders', (message) => {
  const { request, headers, socket } = message as Sending;
  if (socket[AWAITS] === undefined) mend(socket);
  socket[AWAITS] = true;
  if (request.body instanceof RequestBody && !request.body.hasEnded)
    sendHead(socket, headers, request.contentLength);
});

/** For a connection that is no longer HTTP: failures count again on whichever side they are found. */
export function unmend(socket: Duplex): void {
  for (const name of ['read', '_write', '_writev', AWAITS]) Reflect.deleteProperty(socket, name);
}

function mend(socket: Mended): void {
  const { read, _write, _writev } = socket;
  socket.read = (size) => {
    const chunk = read.call(socket, size);
    if (chunk !== null && socket[AWAITS]) socket[AWAITS] = skipInterim(chunk);
    return chunk;
  };
  socket._write = (chunk, encoding, done) => _write.call(socket, chunk, encoding, unlessClosed(done));
  if (_writev) socket._writev = (chunks, done) => _writev.call(socket, chunks, unlessClosed(done));
}

type WriteDone = (error?: Error | null) => void;

/** A write that finds the connection closed never ends: end or reset is what the reading side will report. */
function unlessClosed(done: WriteDone): WriteDone {
  return (error) => {
    const code = (error as NodeJS.ErrnoException | null | undefined)?.code;
    if (code !== 'EPIPE' && code !== 'ECONNRESET') done(error);
  };
}

/** @returns whether the final head is still to come */
function skipInterim(chunk: Buffer): boolean {
  let at = 0;
  while (isInterim(chunk, at)) {
    if (chunk[at + 11] === DIGIT_0) chunk[at + 11] = DIGIT_2;
    const end = chunk.indexOf('\r\n\r\n', at);
    if (end === -1 || end + 4 === chunk.length) return true;
    at = end + 4;
  }
  return false;
}

const DIGIT_0 = 0x30;
const DIGIT_1 = 0x31;
const DIGIT_2 = 0x32;

/** `HTTP/1.1 10x`, other than the 101 that ends HTTP on a connection. */
function isInterim(chunk: Buffer, at: number): boolean {
  return chunk[at + 9] === DIGIT_1 && chunk[at + 10] === DIGIT_0 && chunk[at + 11] !== DIGIT_1;
}

/** Writes the head now, and takes it off undici's first write of the body. */
function sendHead(socket: Socket, head: string, length: number | null): void {
  const { write } = socket;
  const framing = length === null ? 'transfer-encoding: chunked' : `content-length: ${length}`;
  write.call(socket, `${head}${framing}\r\n\r\n`, 'latin1');
  let headSeen = false;
  socket.write = (chunk: string | Uint8Array) => {
    if (!headSeen) {
      headSeen = true;
      if (length !== null) Reflect.deleteProperty(socket, 'write');
      // In chunks, and none came: undici would write the head of a request without a body.
      else if ((chunk as string).endsWith('\r\n\r\n')) return endOf(socket, '0\r\n\r\n');
      return true;
    }
    // The size of the first chunk, behind the end of the line that undici has not ended yet.
    return endOf(socket, (chunk as string).slice(2));
  };
}

function endOf(socket: Socket, text: string): boolean {
  Reflect.deleteProperty(socket, 'write');
  return socket.write(text, 'latin1');
}
