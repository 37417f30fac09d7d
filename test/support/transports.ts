// The ways in which the gateway speaks to a service, each with a real server behind it.
import { once } from 'node:events';
import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttp2, createSecureServer } from 'node:http2';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { join } from 'node:path';
import type { Certificate } from './certificates.ts';

export const TRANSPORTS = ['http1', 'https1', 'unix1', 'h2', 'h2c', 'h2c-unix'] as const;
export type TransportName = (typeof TRANSPORTS)[number];

export type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;

export interface Transport {
  readonly name: TransportName;
  readonly isHttp2: boolean;
  /** The upstream's settings, in YAML. */
  readonly settings: string;
  /** Where it listens: what node:net's connect() takes. */
  readonly address: { readonly port: number } | { readonly path: string };
  readonly server: Server;
  /** Requests so far. */
  requests: number;
  /** Answers the next requests this way; undefined brings the echo back. */
  respond(answer: Answer | undefined): void;
  /** Resets every connection, as a crash does. */
  resetConnections(): void;
  close(): Promise<void>;
}

export interface TransportParts {
  readonly certificate: Certificate;
  readonly caFile: string;
  /** For sockets. */
  readonly dir: string;
}

export async function startTransport(name: TransportName, parts: TransportParts): Promise<Transport> {
  const sockets = new Set<Socket>();
  let answer: Answer | undefined;
  const onRequest: Answer = (request, response) => {
    transport.requests++;
    response.on('error', () => {});
    // A request that is cut while it is read is no fault of the server's.
    Promise.resolve((answer ?? echo)(request, response)).catch(() => response.destroy());
  };
  const server = createServer(name, onRequest, parts.certificate);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket.on('error', () => {}));
    socket.once('close', () => sockets.delete(socket));
  });
  const path = name.includes('unix') ? join(parts.dir, `${name}.sock`) : null;
  server.listen(path === null ? { port: 0, host: '127.0.0.1' } : { path });
  await once(server, 'listening');
  const address = path === null ? { port: (server.address() as AddressInfo).port } : { path };
  const transport: Transport = {
    name,
    isHttp2: name.startsWith('h2'),
    settings: settingsOf(name, address, parts.caFile),
    address,
    server,
    requests: 0,
    respond(next) {
      answer = next;
    },
    resetConnections() {
      // A Unix socket knows no reset.
      for (const socket of sockets) path === null ? socket.resetAndDestroy() : socket.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  return transport;
}

function createServer(name: TransportName, onRequest: Answer, { cert, key }: Certificate): Server {
  // The compatible interface of node:http2: the same handlers serve both.
  const onHttp2 = onRequest as unknown as Parameters<typeof createHttp2>[0];
  const tolerant = { strictSingleValueFields: false };
  const roomy = { maxHeaderSize: 64 * 1024 };
  switch (name) {
    case 'http1':
    case 'unix1':
      return createHttp1(roomy, onRequest);
    case 'https1':
      return createHttps({ cert, key, ...roomy }, onRequest);
    case 'h2':
      return createSecureServer({ cert, key, ...tolerant }, onHttp2 as never);
    default:
      return createHttp2(tolerant as never, onHttp2 as never);
  }
}

function settingsOf(name: TransportName, address: Transport['address'], caFile: string): string {
  const isTls = name === 'https1' || name === 'h2';
  const target =
    'path' in address ? `unix:${address.path}` : `${isTls ? 'https' : 'http'}://127.0.0.1:${address.port}`;
  const protocol = name === 'h2' ? 'h2' : name.startsWith('h2c') ? 'h2c' : 'http1';
  return `targets: ["${target}"], protocol: ${protocol}${isTls ? `, tls: { ca: "${caFile}" }` : ''}`;
}

function echo(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  const { method, url, headers, rawHeaders } = request;
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end(JSON.stringify({ method, url, headers, rawHeaders }));
}
