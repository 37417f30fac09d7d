// What is not HTTP never becomes a request: it is answered on the bare socket, and the connection closed.
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { type ErrorCode, GatewayError, problemOf } from '../errors.ts';

const CODES: Record<string, ErrorCode> = { HPE_HEADER_OVERFLOW: 'headers-too-large' };

/** For node:http's `clientError`. */
export function answerMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable || isAnswering(socket)) {
    socket.destroy();
    return;
  }
  const problem = new GatewayError(CODES[error.code ?? ''] ?? 'bad-request');
  const body = JSON.stringify(problemOf(problem, randomUUID()));
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${problem.status === 431 ? 'Request Header Fields Too Large' : 'Bad Request'}`,
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
