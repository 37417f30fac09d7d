// WebSocket handshakes take the way of any request: the same target, route, session and decision. Here they are put on
// it, and what is wrong with one is said. Requests to change to other protocols are served without changing (RFC 9110
// section 7.8).
import { type IncomingMessage, type RequestListener, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { GatewayError } from '../errors.ts';
import { hasBody } from '../forwarding/request-body.ts';
import { endAndDrop } from '../forwarding/unread-body.ts';
import type { Upgrade } from '../forwarding/websocket.ts';
import { answerUnderWay } from './malformed.ts';

const upgrades = new WeakMap<IncomingMessage, Upgrade>();

/**
 * For node:http's `shouldUpgradeCallback`. A handshake behind a request whose answer is still due is no handshake: it
 * is answered in its turn.
 */
export function mayUpgrade(request: IncomingMessage): boolean {
  return asksForWebSocket(request) && answerUnderWay(request.socket) === null;
}

function asksForWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade !== undefined && /(?:^|,)\s*websocket\s*(?:,|$)/i.test(headers.upgrade);
}

export function takeUpgrades(server: Server, handle: RequestListener): void {
  server.on('upgrade', (request: IncomingMessage, duplex: Duplex, head: Buffer) => {
    const socket = duplex as Socket;
    const { response, detach } = answerOn(request, socket);
    upgrades.set(request, {
      take() {
        detach();
        if (head.length > 0) socket.unshift(head);
        return socket;
      },
    });
    handle(request, response);
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
  const isWhole = upgrade !== undefined && request.httpVersionMinor === 1 && !hasBody(request);
  if (!isWhole || Buffer.from(key, 'base64').length !== 16 || !/^[A-Za-z0-9+/]{22}==$/.test(key))
    throw new GatewayError('bad-request', {
      detail: 'This is no WebSocket handshake (RFC 6455 section 4.2.1).',
      // What follows may be frames.
      headers: { connection: 'close' },
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
function answerOn(
  request: IncomingMessage,
  socket: Socket,
): { response: ServerResponse; detach: () => void } {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  const onDrain = () => response.emit('drain');
  // Nobody reads while the upstream is asked: that the client has gone is noticed all the same.
  const onReadable = () => socket.readableLength === 0 && socket.destroy();
  socket
    .on('error', () => socket.destroy())
    .on('drain', onDrain)
    .on('readable', onReadable);
  const detach = () => {
    socket.off('drain', onDrain).off('readable', onReadable);
    response.detachSocket(socket);
  };
  response.once('finish', () => {
    detach();
    endAndDrop(socket);
    response.emit('close');
  });
  return { response, detach };
}
