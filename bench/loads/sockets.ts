// WebSockets that send a message whenever the last one has come back; an order on stdin, the count on stdout.

import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { WebSocket } from 'ws';
import { percentile } from '../statistics.ts';

export interface SocketsOrder {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  readonly cookie: string;
  readonly messageBytes: number;
}

const { url, connections, seconds, cookie, messageBytes } = JSON.parse(
  await text(process.stdin),
) as SocketsOrder;
const message = Buffer.alloc(messageBytes, 'x');
const latencies: number[] = [];
let isOver = false;

const sockets = await Promise.all(Array.from({ length: connections }, open));
const startedAt = performance.now();
for (const socket of sockets) pingPong(socket);
setTimeout(finish, seconds * 1000);

async function open(): Promise<WebSocket> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), { headers: { cookie }, perMessageDeflate: false });
  await once(socket, 'open');
  socket.on('error', fail).on('close', () => isOver || fail(new Error('A WebSocket was closed')));
  return socket;
}

function pingPong(socket: WebSocket): void {
  let sentAt = performance.now();
  socket.on('message', (echo: Buffer) => {
    if (echo.length !== messageBytes) fail(new Error('An echo differs from what was sent'));
    const now = performance.now();
    latencies.push(now - sentAt);
    sentAt = now;
    if (!isOver) socket.send(message);
  });
  socket.send(message);
}

function finish(): void {
  isOver = true;
  const count = {
    requests: latencies.length,
    seconds: (performance.now() - startedAt) / 1000,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    statuses: {},
    errors: 0,
  };
  for (const socket of sockets) socket.terminate();
  process.stdout.write(JSON.stringify(count), () => process.exit(0));
}

function fail(error: Error): never {
  throw error;
}
