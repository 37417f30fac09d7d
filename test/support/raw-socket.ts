// Requests that no HTTP library would write: the very bytes on a socket, and what comes back.
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';

export interface RawAnswer {
  /** 0 when the connection was closed without an answer. */
  readonly status: number;
  /** Status line and headers. */
  readonly head: string;
  readonly body: string;
}

/** Sends the text, one byte a character, and reads until the other side closes. Ask for `Connection: close`. */
export async function sendBytes(url: string, text: string, patienceMs = 10_000): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.setTimeout(patienceMs, () => socket.destroy(new Error(`no answer within ${patienceMs} ms`)));
  socket.write(text, 'latin1');
  const answer = (await buffer(socket)).toString('latin1');
  const end = answer.indexOf('\r\n\r\n');
  const head = answer.slice(0, end);
  return { status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? 0), head, body: answer.slice(end + 4) };
}

/** A request line with this target, whatever it holds. */
export function requestText(target: string, headers: readonly string[] = [], method = 'GET'): string {
  return [`${method} ${target} HTTP/1.1`, 'Host: gateway.test', 'Connection: close', ...headers, '', ''].join(
    '\r\n',
  );
}
