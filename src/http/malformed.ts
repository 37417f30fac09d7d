// What is not HTTP never becomes a request: it is answered on the bare socket, and the connection closed.
import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ErrorCode, GatewayError, problemOf } from '../errors.ts';

const CODES: Record<string, ErrorCode> = { HPE_HEADER_OVERFLOW: 'headers-too-large' };

/** For node:http's `clientError`. */
export function answerMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable || isAnswering(socket)) {
    socket.destroy();
    return;
  }
  answerOnSocket(socket, new GatewayError(CODES[error.code ?? ''] ?? 'bad-request'));
}

/** For node:http's `connect`: nobody is given a tunnel, and nobody is left without a word. */
export function answerConnect(socket: Duplex): void {
  socket.on('error', () => socket.destroy());
  answerOnSocket(socket, new GatewayError('method-not-allowed'));
}

function answerOnSocket(socket: Duplex, problem: GatewayError): void {
  const body = JSON.stringify(problemOf(problem, randomUUID()));
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
      'Content-Type: application/problem+json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Cache-Control: no-store',
      'X-Gateway-Intercepted-Response: true',
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}

/** Bytes of ours would stand within the answer that is under way. Node keeps it here, and looks at it likewise. */
function isAnswering(socket: Socket): boolean {
  return Boolean((socket as Socket & { _httpMessage?: unknown })._httpMessage);
}
