// An orderly end waits for requests under way, and for nothing else. Node waits for connections, too, that have not
// sent a whole request yet, such as the spare ones of browsers: for as long as a request may take to arrive.
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** @returns a function that ends every connection of the server on which no request is under way */
export function watchSilentConnections(server: Server): () => void {
  const requests = new Map<Socket, number>();
  const count = (socket: Socket, change: number) => {
    const before = requests.get(socket);
    if (before !== undefined) requests.set(socket, before + change);
  };
  server.on('connection', (socket) => {
    requests.set(socket, 0);
    socket.once('close', () => requests.delete(socket));
  });
  server.on('request', ({ socket }, response) => {
    count(socket, 1);
    response.once('close', () => count(socket, -1));
  });
  // A WebSocket is no longer HTTP: it is ended in its own way.
  server.on('upgrade', (_request, socket) => requests.delete(socket as Socket));
  return () => {
    for (const [socket, underWay] of requests) if (underWay === 0) socket.destroy();
  };
}
