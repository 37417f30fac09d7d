// WebSocket handshakes take the way of any request: the same target, route, session and decision. Here they are put on
// it, and what is wrong with one is said. Requests to change to other protocols are served without changing (RFC 9110
// section 7.8).
import { type IncomingMessage, type RequestListener, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { GatewayError } from '../errors.ts';
import type { Upgrade } from '../forwarding/websocket.ts';

const upgrades = new WeakMap<IncomingMessage, Upgrade>();

/** For node:http's `shouldUpgradeCallback`. */
export function asksForWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade !== undefined && /(?:^|,)\s*websocket\s*(?:,|$)/i.test(headers.upgrade);
}

export function takeUpgrades(server: Server, handle: RequestListener): void {
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    upgrades.set(request, { socket, head });
    handle(request, answerOn(request, socket as Socket));
  });
}

/**
 * The connection behind a handshake; null for any other request.
 *
 * @throws {GatewayError} method-not-allowed, bad-request (400, or 426 for another version)
 */
export function upgradeOf(request: IncomingMessage): Upgrade | null {
  if (request.headers.upgrade === undefined || !asksForWebSocket(request)) return null;
  if (request.method !== 'GET') throw new GatewayError('method-not-allowed', { headers: { allow: 'GET' } });
  const upgrade = upgrades.get(request);
  const key = String(request.headers['sec-websocket-key'] ?? '');
  if (upgrade === undefined || Buffer.from(key, 'base64').length !== 16 || !/^[A-Za-z0-9+/]{22}==$/.test(key))
    throw new GatewayError('bad-request', {
      detail: 'This is no WebSocket handshake (RFC 6455 section 4.2.1).',
    });
  if (request.headers['sec-websocket-version'] !== '13')
    throw new GatewayError('bad-request', {
      status: 426,
      detail: 'Speak version 13 of the WebSocket protocol.',
      headers: { upgrade: 'websocket', 'sec-websocket-version': '13' },
    });
  return upgrade;
}

/** Node hands over the bare connection: whatever is no WebSocket in the end is answered on it, and it is closed. */
function answerOn(request: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  const onDrain = () => response.emit('drain');
  socket.on('drain', onDrain);
  socket.on('error', () => socket.destroy());
  response.once('finish', () => {
    socket.off('drain', onDrain);
    response.detachSocket(socket);
    socket.end(() => socket.destroySoon());
    response.emit('close');
  });
  return response;
}
