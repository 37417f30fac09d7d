// An orderly end waits for requests under way, and for nothing else. Node waits for connections, too, that have not
// sent a whole request yet, such as the spare ones of browsers: for as long as a request may take to arrive.
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { answerUnderWay } from './malformed.ts';

/** @returns a function that ends every connection of the server: at once, or with the answers that are due on it */
export function watchSilentConnections(server: Server): () => void {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  // A WebSocket is no longer HTTP: it is ended in its own way.
  server.on('upgrade', (_request, socket) => sockets.delete(socket as Socket));
  return () => {
    for (const socket of sockets) endWhenSilent(socket);
  };
}

/** Its client would keep it open for the next request. */
function endWhenSilent(socket: Socket): void {
  const answer = answerUnderWay(socket);
  if (answer === null) return void socket.destroySoon();
  answer.shouldKeepAlive = false;
  answer.once('close', () => endWhenSilent(socket));
}
