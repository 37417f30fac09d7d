// What is not HTTP never becomes a request: it is answered on the bare socket, and the connection closed.
import { randomUUID } from 'node:crypto';
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ErrorCode, GatewayError, problemOf } from '../errors.ts';
import { endSlowly } from '../forwarding/unread-body.ts';

const CODES: Record<string, ErrorCode> = { HPE_HEADER_OVERFLOW: 'headers-too-large' };

/** For node:http's `clientError`. Answers that are due before it are given first. */
export function answerMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return void socket.destroy();
  // Told again for every further byte, and for bytes behind the last request of a connection, which harm nobody.
  socket.pause();
  if (error.code === 'HPE_CLOSED_CONNECTION' || refused.has(socket)) return;
  refused.add(socket);
  answerInTurn(error, socket);
}

const refused = new WeakSet<Socket>();

function answerInTurn(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable) return;
  const before = answerUnderWay(socket);
  if (before?.req.complete) before.once('finish', () => answerInTurn(error, socket));
  // Within the body of this very request, whose answer has begun: bytes of ours would stand in the middle of it.
  else if (before?.headersSent) socket.destroy();
  else answerOnSocket(socket, new GatewayError(CODES[error.code ?? ''] ?? 'bad-request'));
}

/** For node:http's `connect`: nobody is given a tunnel, and nobody is left without a word. */
export function answerConnect(socket: Duplex): void {
  socket.on('error', () => socket.destroy());
  answerOnSocket(socket, new GatewayError('method-not-allowed'));
}

function answerOnSocket(socket: Duplex, problem: GatewayError): void {
  const body = JSON.stringify(problemOf(problem, randomUUID()));
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'X-Gateway-Intercepted-Response: true',
    'Connection: close',
  ];
  endSlowly(socket, `${head.join('\r\n')}\r\n\r\n${body}`);
}

/** The first answer that is due on this connection. Node keeps it here, and looks at it likewise. */
export function answerUnderWay(socket: Socket): ServerResponse | null {
  return (socket as Socket & { _httpMessage?: ServerResponse | null })._httpMessage ?? null;
}
