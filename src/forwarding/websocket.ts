// The end of a WebSocket handshake: what the upstream accepted is verified, then told to the client, and both are joined.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { GatewayError } from '../errors.ts';
import { acceptOf } from './frames.ts';
import { headerOf, type OnStream } from './streams.ts';
import { openTunnel, type Tunnel } from './tunnel.ts';

/** A connection whose client asked for another protocol than HTTP; see http/upgrades.ts. */
export interface Upgrade {
  /** Ends HTTP on the connection. What the client sent behind its request is the first that is read of it. */
  take(): Duplex;
}

export interface WebSocketParts {
  readonly upgrade: Upgrade;
  readonly request: IncomingMessage;
  /** Its `close` is emitted when the WebSocket is over. */
  readonly response: ServerResponse;
  /** Names and values in turn, as the upstream sent them. */
  readonly rawHeaders: readonly string[];
  /** Names and values in turn, as the client gets them. */
  readonly headers: readonly string[];
  readonly upstream: Duplex;
  readonly idleMs: number;
  readonly onStream: OnStream;
}

/** @throws {GatewayError} upstream-broken, and what onStream throws: then nothing has been sent */
export function joinWebSocket(parts: WebSocketParts): void {
  const { upgrade, request, response, rawHeaders, headers, upstream, idleMs, onStream } = parts;
  if (headerOf(rawHeaders, 'sec-websocket-accept') !== acceptOf(String(request.headers['sec-websocket-key'])))
    throw new GatewayError('upstream-broken', {
      cause: new Error('The answer to a WebSocket handshake is no answer to its key'),
    });
  let tunnel: Tunnel | null = null;
  const release = onStream('websocket', ({ code, reason }) => tunnel?.end(code, reason));
  const client = upgrade.take();
  client.write(headText(headers), 'latin1');
  tunnel = openTunnel({ client, upstream, idleMs });
  tunnel.closed.then(() => {
    release();
    response.emit('close');
  });
}

function headText(headers: readonly string[]): string {
  let text = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n';
  for (let at = 0; at < headers.length; at += 2) {
    // No body follows, whatever the upstream says (RFC 9110 section 8.6).
    if (headers[at]?.toLowerCase() !== 'content-length') text += `${headers[at]}: ${headers[at + 1]}\r\n`;
  }
  return `${text}\r\n`;
}
