// An upstream that remembers what it was sent, and answers as it is told.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  /** Names and values in turn, exactly as they arrived. */
  readonly rawHeaders: readonly string[];
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export interface RecordingUpstream {
  readonly url: string;
  readonly seen: SeenRequest[];
  /** Takes the next WebSocket handshakes this way; undefined brings the echo back, which accepts all that is offered. */
  upgrade(handler: UpgradeHandler | undefined): void;
  /** Answers the next requests this way; undefined brings the echo back. */
  respond(handler: ((request: IncomingMessage, response: ServerResponse) => void) | undefined): void;
  close(): Promise<void>;
}

/** Echoes method, URL and headers as JSON unless told otherwise. */
export async function startRecordingUpstream(): Promise<RecordingUpstream> {
  const seen: SeenRequest[] = [];
  let respond: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  // Takes what the gateway takes, and more.
  const server = createServer({ maxHeaderSize: 128 * 1024 }, (request, response) => {
    const { method = '', url = '', rawHeaders, headers } = request;
    seen.push({ method, url, rawHeaders, headers });
    if (respond) respond(request, response);
    else echo(request, response);
  });
  let upgrade: UpgradeHandler | undefined;
  const sockets = new Set<Duplex>();
  server.on('upgrade', (request, socket, head) => {
    const { method = '', url = '', rawHeaders, headers } = request;
    seen.push({ method, url, rawHeaders, headers });
    sockets.add(socket);
    socket.on('error', () => {}).once('close', () => sockets.delete(socket));
    (upgrade ?? echoFrames)(request, socket, head);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    respond(handler) {
      respond = handler;
    },
    upgrade(handler) {
      upgrade = handler;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
        server.closeAllConnections();
      }),
  };
}

function echo(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  const { method, url, headers } = request;
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end(JSON.stringify({ method, url, headers }));
}

const acceptor = new WebSocketServer({ noServer: true, perMessageDeflate: { threshold: 0 } });

/** Accepts a handshake that reached an upstream. */
export function acceptWebSocket(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<WebSocket> {
  return new Promise((resolve) => acceptor.handleUpgrade(request, socket, head, resolve));
}

const echoFrames: UpgradeHandler = async (...handshake) => {
  const webSocket = await acceptWebSocket(...handshake);
  webSocket.on('error', () => {});
  webSocket.on('message', (data, binary) => webSocket.send(data, { binary }));
};
