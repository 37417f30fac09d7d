// What becomes of a body that nobody wants? A connection that is closed while bytes still arrive is reset, and the
// reset may overtake the answer. So the answer is sent, our half of the connection closed, and the rest waited for.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { hasBody } from './request-body.ts';

/** An announced body up to this size is read and dropped, and the connection goes on. */
const SMALL_BYTES = 64 * 1024;
/** How long a client may take to read an answer of ours before its connection is reset. */
const LINGER_MS = 2000;
/** What a client may still send, and how long, of an upload its upstream has answered already. */
const MOST_DROPPED_BYTES = 64 * 1024 * 1024;
const DROP_MS = 30_000;

/** To be called before the head of an answer of ours is written: of a large body no further byte is read. */
export function leaveUnread(request: IncomingMessage, response: ServerResponse): void {
  if (request.complete || response.headersSent || !hasBody(request)) return;
  request.unpipe();
  if (isSmall(request)) {
    request.resume();
    return;
  }
  response.shouldKeepAlive = false;
  request.pause();
  request.socket.pause();
  // Node drops what nobody has read, to its end, however long it is: it shall not get to it.
  request._read = () => {};
  closeSlowly(request.socket, LINGER_MS);
}

/** To be called before the head of an upstream's answer is written: it may be there before the upload has ended. */
export function closeAfterEarlyAnswer(request: IncomingMessage, response: ServerResponse): void {
  if (!request.complete && !isSmall(request)) response.shouldKeepAlive = false;
}

/** Reads on for a while what an upstream no longer wants: many clients come to the answer only after their upload. */
export function dropRest(request: IncomingMessage): void {
  if (request.complete) return;
  let left = MOST_DROPPED_BYTES;
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) request.pause();
  });
  request.resume();
  if (!isSmall(request)) closeSlowly(request.socket, DROP_MS, request);
}

/** Ends the socket with these bytes; it is gone when the client is, or soon after. */
export function endSlowly(socket: Duplex, bytes: string): void {
  socket.pause();
  socket.end(bytes);
  destroyLater(socket, LINGER_MS);
}

/** Ends the socket behind what was written; what still arrives is dropped, until the client is gone or soon after. */
export function endAndDrop(socket: Duplex): void {
  socket.once('end', () => socket.destroy());
  socket.resume();
  socket.end();
  destroyLater(socket, LINGER_MS);
}

/** Ends the answer, and its connection behind it: an orderly end of the gateway waits for every connection. */
export function endWithConnection(response: ServerResponse): void {
  const { socket } = response;
  response.once('finish', () => socket?.destroySoon());
  response.end();
  if (socket) destroyLater(socket, LINGER_MS);
}

function isSmall({ headers }: IncomingMessage): boolean {
  return headers.expect === undefined && Number(headers['content-length']) <= SMALL_BYTES;
}

/** Node calls destroySoon() behind the last answer of a connection. @param awaited whose end ends the wait */
function closeSlowly(socket: Socket, ms: number, awaited?: IncomingMessage): void {
  socket.destroySoon = () => {
    socket.end();
    if (awaited?.complete) socket.once('finish', () => socket.destroy());
    awaited?.once('end', () => socket.destroy());
    destroyLater(socket, ms);
  };
}

function destroyLater(socket: Duplex, ms: number): void {
  const timer = setTimeout(() => socket.destroy(), ms);
  socket.once('close', () => clearTimeout(timer));
}
