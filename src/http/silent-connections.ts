// An orderly end waits for requests under way. A client that keeps its connection may send the next request just as it
// is closed, and would have to take that for a failure: so connections stay open for a while yet, and what comes on them
// is answered with `Connection: close`. Not for longer: Node would wait for connections that have not sent a whole
// request yet, such as the spare ones of browsers, for as long as a request may take to arrive.
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { answerUnderWay } from './malformed.ts';

/** How long a connection stays open without a request once the end has begun. */
const LINGER_MS = 1000;

/** @returns a function that ends every connection of the server: when it was silent, or with the answers that are due */
export function watchSilentConnections(server: Server): () => void {
  const sockets = new Set<Socket>();
  let isEnding = false;
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    if (isEnding) linger(socket);
  });
  // A WebSocket is no longer HTTP: it is ended in its own way.
  server.on('upgrade', (_request, socket) => sockets.delete(socket as Socket));
  server.prependListener('request', (_request, response) => {
    if (isEnding) response.shouldKeepAlive = false;
  });
  // Called by close() as its first act: it would close, at once, what a client may be sending on.
  server.closeIdleConnections = () => {};
  const linger = (socket: Socket) => {
    const timer = setTimeout(() => {
      // Whatever has arrived by now is read before this is called, however late it is.
      setImmediate(() => sockets.has(socket) && endWhenSilent(socket));
    }, LINGER_MS);
    socket.once('close', () => clearTimeout(timer));
  };
  /** Its client would keep it open for the next request. */
  const endWhenSilent = (socket: Socket) => {
    if (answerUnderWay(socket) === null) socket.destroySoon();
    else lingerAfterAnswer(socket);
  };
  /** The answer may have begun, and have promised that the connection is kept. */
  const lingerAfterAnswer = (socket: Socket) => {
    const answer = answerUnderWay(socket);
    if (answer === null) return linger(socket);
    answer.shouldKeepAlive = false;
    answer.once('close', () => linger(socket));
  };
  return () => {
    isEnding = true;
    for (const socket of sockets) lingerAfterAnswer(socket);
  };
}
