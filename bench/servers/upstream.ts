// The upstream of all contenders: as cheap as an answer can be, on node:net alone, so that its core is left to the
// load. It knows the requests of the bench and nothing else.
//   /download: 10 MB · /events: an event stream that stays silent · a WebSocket: echo · everything else: 1 KB
import { createServer, type Socket } from 'node:net';
import { listenAndTell } from './listen.ts';
import { echoFrames, handshakeAnswer } from './websocket-echo.ts';

const ANSWER = answer('text/plain', Buffer.alloc(1024, 'x'));
const DOWNLOAD = answer('application/octet-stream', Buffer.alloc(10_000_000, 'x'));
const EVENTS = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n7\r\n: open\n\r\n',
);

listenAndTell(createServer({ noDelay: true }, serve));

function serve(socket: Socket): void {
  let unread = '';
  let bodyLeft = 0;
  const onData = (chunk: Buffer) => {
    if (bodyLeft >= chunk.length) {
      bodyLeft -= chunk.length;
      if (bodyLeft === 0) socket.write(ANSWER);
      return;
    }
    unread += chunk.toString('latin1', bodyLeft);
    bodyLeft = 0;
    for (let end = unread.indexOf('\r\n\r\n'); end !== -1; end = unread.indexOf('\r\n\r\n')) {
      const head = unread.slice(0, end + 4);
      unread = unread.slice(end + 4);
      const path = head.slice(head.indexOf(' ') + 1, head.indexOf(' ', head.indexOf(' ') + 1));
      if (path.startsWith('/socket')) return openSocket(socket, head, onData);
      bodyLeft = Math.max(0, lengthOfBody(head) - unread.length);
      unread = bodyLeft > 0 ? '' : unread.slice(lengthOfBody(head));
      if (bodyLeft === 0) socket.write(answerTo(path));
    }
  };
  socket.on('data', onData);
  socket.on('error', () => socket.destroy());
}

function openSocket(socket: Socket, head: string, onData: (chunk: Buffer) => void): void {
  socket.off('data', onData);
  socket.on('data', echoFrames(socket));
  socket.write(handshakeAnswer(head));
}

function answerTo(path: string): Buffer {
  if (path.startsWith('/download')) return DOWNLOAD;
  return path.startsWith('/events') ? EVENTS : ANSWER;
}

function lengthOfBody(head: string): number {
  if (head.startsWith('GET')) return 0;
  const [, length] = /\r\ncontent-length: *(\d+)/i.exec(head) ?? [];
  if (length === undefined) throw new Error('The bench sends bodies of a known length only');
  return Number(length);
}

function answer(type: string, body: Buffer): Buffer {
  const head = `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}
