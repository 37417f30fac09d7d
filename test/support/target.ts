// One address of an upstream that a test takes away and gives back, and that tells who was asked.
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface TestTarget {
  readonly name: string;
  readonly url: string;
  /** Method and URL of each request so far. */
  readonly seen: string[];
  /** Connections that are open now. */
  readonly connections: ReadonlySet<Socket>;
  /** Answers this way from now on; undefined: with its name. */
  respond(handler: RequestListener | undefined): void;
  /** As a process that has died: connections are cut, new ones refused. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export async function startTarget(name: string): Promise<TestTarget> {
  const seen: string[] = [];
  const connections = new Set<Socket>();
  const answer: RequestListener = (request, response) => {
    request.resume().once('end', () => response.end(name));
  };
  let respond = answer;
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    respond(request, response);
  });
  server.on('connection', (socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
  });
  const listen = (port: number) => once(server.listen(port, '127.0.0.1'), 'listening');
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    name,
    url: `http://127.0.0.1:${port}`,
    seen,
    connections,
    respond(handler) {
      respond = handler ?? answer;
    },
    async stop() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
    async start() {
      await listen(port);
    },
  };
}
