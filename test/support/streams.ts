// Clients of what stays open: a WebSocket, an event stream, a handshake in its very bytes.
import { createHash, randomBytes } from 'node:crypto';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { buffer } from 'node:stream/consumers';
import { type ClientOptions, WebSocket } from 'ws';
import { type Client, cookieHeader } from './browser-like.ts';

export interface StreamOptions extends ClientOptions {
  readonly headers?: Record<string, string>;
  /** Whose cookies are sent. */
  readonly client?: Pick<Client, 'cookies'> | undefined;
  readonly protocols?: string[];
}

/** What an attempt to open a WebSocket comes to. */
export type Handshake =
  | { readonly opened: true; readonly webSocket: WebSocket; readonly headers: IncomingMessage['headers'] }
  | {
      readonly opened: false;
      readonly status: number;
      readonly headers: IncomingMessage['headers'];
      readonly body: string;
      /** Of a refusal by the gateway. */
      readonly code: string | null;
    };

export function shakeHands(
  url: string,
  { client, headers, protocols = [], ...more }: StreamOptions = {},
): Promise<Handshake> {
  const webSocket = new WebSocket(url.replace(/^http/, 'ws'), protocols, {
    headers: { ...cookieOf(client), ...headers },
    perMessageDeflate: false,
    ...more,
  });
  return new Promise((resolve, reject) => {
    let answered: IncomingMessage['headers'] = {};
    webSocket.once('upgrade', (response) => {
      answered = response.headers;
    });
    webSocket.once('open', () => resolve({ opened: true, webSocket, headers: answered }));
    webSocket.once('unexpected-response', async (_request, response) => {
      const body = (await buffer(response)).toString();
      const { statusCode: status = 0 } = response;
      resolve({ opened: false, status, headers: response.headers, body, code: codeOf(body) });
    });
    webSocket.once('error', reject);
  });
}

/** @throws when it is refused */
export async function openWebSocket(url: string, options?: StreamOptions): Promise<WebSocket> {
  const handshake = await shakeHands(url, options);
  if (handshake.opened) return handshake.webSocket;
  throw new Error(`the handshake was answered ${handshake.status}: ${handshake.body}`);
}

/** Code and reason of the end of a WebSocket; 1006 when there was none. */
export function closeOf(webSocket: WebSocket): Promise<{ code: number; reason: string }> {
  webSocket.on('error', () => {});
  return new Promise((resolve) =>
    webSocket.once('close', (code, reason) => resolve({ code, reason: reason.toString() })),
  );
}

export interface EventStream {
  readonly response: IncomingMessage;
  /** All that came so far. */
  text(): string;
  /** `performance.now()` when the last byte came. */
  lastAt(): number;
  /** Resolves when it is over: whether it came to its end, or was cut. */
  readonly ended: Promise<'end' | 'cut'>;
  close(): void;
}

export async function openEventStream(
  url: string,
  { client, headers }: Pick<StreamOptions, 'client' | 'headers'> = {},
): Promise<EventStream> {
  const sent = { accept: 'text/event-stream', ...cookieOf(client), ...headers };
  const request = httpRequest(url, { headers: sent, agent: false });
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    request.once('response', resolve).once('error', reject).end(),
  );
  let text = '';
  let lastAt = performance.now();
  const ended = new Promise<'end' | 'cut'>((resolve) => {
    response.on('data', (chunk) => {
      text += chunk;
      lastAt = performance.now();
    });
    response.once('end', () => resolve('end'));
    response.once('error', () => resolve('cut'));
  });
  return { response, text: () => text, lastAt: () => lastAt, ended, close: () => request.destroy() };
}

/** A handshake as bytes; `lines` takes the place of single headers, by name, or removes them where it is null. */
export function handshakeText(
  target: string,
  { method = 'GET', version = '1.1', ...lines }: Record<string, string | null> = {},
): string {
  const headers: Record<string, string | null> = {
    Host: 'gateway.test',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': newKey(),
    ...lines,
  };
  const written = Object.entries(headers).flatMap(([name, value]) =>
    value === null ? [] : [`${name}: ${value}`],
  );
  return [`${method} ${target} HTTP/${version}`, ...written, '', ''].join('\r\n');
}

function newKey(): string {
  return randomBytes(16).toString('base64');
}

/** What an upstream answers to a handshake, where no library shall look at its frames. */
export function acceptance({ headers }: IncomingMessage): string {
  const key = String(headers['sec-websocket-key']);
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  const lines = ['Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept}`];
  return ['HTTP/1.1 101 Switching Protocols', ...lines, '', ''].join('\r\n');
}

/** A bare connection that has got its 101, and what came behind it. */
export async function openBare(
  url: string,
  text: string,
): Promise<{ socket: Socket; head: string; rest: Buffer }> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  socket.write(text, 'latin1');
  let got = Buffer.alloc(0);
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    got = Buffer.concat([got, chunk]);
    const end = got.indexOf('\r\n\r\n');
    if (end === -1) continue;
    return { socket, head: got.subarray(0, end).toString('latin1'), rest: got.subarray(end + 4) };
  }
  throw new Error(`the connection ended behind ${got.toString('latin1')}`);
}

function cookieOf(client: Pick<Client, 'cookies'> | undefined): { cookie?: string } {
  return client && client.cookies.size > 0 ? { cookie: cookieHeader(client.cookies) } : {};
}

function codeOf(body: string): string | null {
  try {
    return JSON.parse(body).code ?? null;
  } catch {
    return null;
  }
}
