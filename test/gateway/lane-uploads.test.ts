// Uploads that do not go as planned: late, stalled, too long, or answered before they end.
import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { send } from '../support/send.ts';

let gateway: TestGateway;
let raw: Server;
let onConnection: (socket: Socket) => void;
const connections = new Set<Socket>();

beforeAll(async () => {
  raw = createServer((socket) => {
    connections.add(socket.on('error', () => {}));
    onConnection(socket);
  }).listen(0, '127.0.0.1');
  await once(raw, 'listening');
  gateway = await startTestGateway({
    stores: 'sqlite',
    config: `
upstreams:
  plain: { targets: ["\${UPSTREAM}"], timeouts: { idle: 600ms } }
  raw: { targets: ["http://127.0.0.1:${(raw.address() as AddressInfo).port}"], timeouts: { headers: 3s } }
routes:
  - { path: /**, upstream: plain, access: public }
  - { path: /raw/**, upstream: raw, access: public }
`,
  });
});
afterEach(async () => {
  gateway.upstream.respond(undefined);
  // The next test's requests go over connections of their own.
  await Promise.all([...connections].map((socket) => socket.closed || once(socket.destroy(), 'close')));
  connections.clear();
});
afterAll(async () => {
  await gateway?.close();
  raw.close();
});

function open(path: string, headers: Record<string, string> = {}, method = 'POST'): ClientRequest {
  const request = httpRequest(`${gateway.url}${path}`, { method, headers, agent: false });
  request.on('error', () => {});
  onTestFinished(() => void request.destroy());
  return request;
}

async function answerTo(request: ClientRequest): Promise<IncomingMessage> {
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response.on('error', () => {});
}

const textOf = async (response: IncomingMessage) => Buffer.concat(await response.toArray()).toString();

const framings = [
  ['with a length', { 'content-length': '4' }],
  ['in chunks', { 'transfer-encoding': 'chunked' }],
] as [string, Record<string, string>][];

describe.each(framings)('a request whose body (%s) comes late', (_framing, headers) => {
  test('is at the upstream before the first byte of it, and arrives whole', async () => {
    const arriving = Promise.withResolvers<void>();
    gateway.upstream.respond(async (request, response) => {
      arriving.resolve();
      response.end(await textOf(request));
    });
    for (let round = 0; round < 3; round++) {
      const request = open('/late', headers);
      const answering = answerTo(request);
      request.flushHeaders();
      await arriving.promise;
      for (const byte of ['b', 'od', 'y']) {
        request.write(byte);
        await sleep(10);
      }
      request.end();
      expect(await textOf(await answering)).toBe('body');
    }
  });

  test('may be answered before it', async () => {
    gateway.upstream.respond((_request, response) => response.writeHead(403).end('no need'));
    const request = open('/late', headers);
    request.flushHeaders();
    const response = await answerTo(request);
    expect([response.statusCode, await textOf(response)]).toEqual([403, 'no need']);
  });
});

test('a body in chunks that turns out to be empty is an empty one', async () => {
  const arriving = Promise.withResolvers<void>();
  gateway.upstream.respond(async (request, response) => {
    arriving.resolve();
    response.end(JSON.stringify([request.headers['transfer-encoding'], await textOf(request)]));
  });
  const request = open('/empty', { 'transfer-encoding': 'chunked' });
  request.flushHeaders();
  await arriving.promise;
  request.end();
  expect(JSON.parse(await textOf(await answerTo(request)))).toEqual(['chunked', '']);
  expect((await send(`${gateway.url}/after`)).status).toBe(200);
});

const SIZE = 20 * 1024 * 1024;
const earlyEnds: [string, (socket: Socket) => void][] = [
  ['closes', (socket) => void socket.end()],
  ['closes with bytes unread', (socket) => void socket.end().destroySoon()],
  ['resets', (socket) => setTimeout(() => socket.resetAndDestroy(), 20)],
  ['resets at once', (socket) => void setImmediate(() => socket.resetAndDestroy())],
];
const ANSWER = 'HTTP/1.1 413 Payload Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo long';

describe.each(framings)('an upload of 20 MB (%s)', (framing) => {
  test.each(earlyEnds)('gets the answer of an upstream that answers early and %s', async (_how, end) => {
    const statuses: Record<string, number> = {};
    for (let round = 0; round < 10; round++) {
      let tries = 0;
      onConnection = (socket) => {
        tries += 1;
        // Of the body no more is read than what comes with the head.
        socket.once('data', () => {
          socket.pause();
          socket.write(ANSWER, () => end(socket));
        });
      };
      const headers: Record<string, string> =
        framing === 'in chunks' ? { 'transfer-encoding': 'chunked' } : { 'content-length': String(SIZE) };
      const request = open('/raw/early', headers);
      const answering = answerTo(request);
      request.end(Buffer.alloc(SIZE));
      const response = await answering;
      const outcome = `${response.statusCode} ${await textOf(response)} ${tries}`;
      statuses[outcome] = (statuses[outcome] ?? 0) + 1;
      request.destroy();
    }
    expect(statuses).toEqual({ '413 too long 1': 10 });
  });
});

test('an upload whose upstream closes without an answer is 502, and is sent once', async () => {
  let tries = 0;
  onConnection = (socket) => {
    tries += 1;
    socket.once('data', () => setTimeout(() => socket.resetAndDestroy(), 20));
  };
  const response = await send(`${gateway.url}/raw/once`, { method: 'POST', body: Buffer.alloc(5_000_000) });
  expect([response.status, await response.json(), tries]).toEqual([
    502,
    expect.objectContaining({ code: 'upstream-broken' }),
    1,
  ]);
});

test('a body that stalls ends its request at the upstream, and is refused', async () => {
  const ended = Promise.withResolvers<void>();
  gateway.upstream.respond((request) => {
    request
      .on('error', () => {})
      .on('close', () => ended.resolve())
      .resume();
  });
  const request = open('/stalled', { 'content-length': '100' });
  request.write('half');
  const response = await answerTo(request);
  expect([response.statusCode, response.headers.connection]).toEqual([400, 'close']);
  expect(JSON.parse(await textOf(response))).toMatchObject({
    code: 'bad-request',
    detail: 'The body stopped arriving.',
  });
  await ended.promise;
});

test('a body that its upstream is slow to read does not stall', async () => {
  gateway.upstream.respond((request, response) => {
    setTimeout(async () => response.end(String((await textOf(request)).length)), 2000);
  });
  const response = await send(`${gateway.url}/slow`, { method: 'POST', body: Buffer.alloc(SIZE) });
  expect([response.status, await response.text()]).toEqual([200, String(SIZE)]);
});

const interims: [string, string][] = [
  ['100', 'HTTP/1.1 100 Continue\r\n\r\n'],
  ['102', 'HTTP/1.1 102 Processing\r\n\r\n'],
  ['103', 'HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n'],
  [
    '100 twice and 103',
    `${'HTTP/1.1 100 Continue\r\n\r\n'.repeat(2)}HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n`,
  ],
];
describe.each(interims)('the interim status %s of an upstream is not passed on', (_which, interim) => {
  test.each([
    ['in one piece', 0],
    ['in pieces', 20],
  ])('%s with the answer', async (_how, pause) => {
    const final = 'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nHTTP/1.1 100 x\r\n';
    onConnection = (socket) => {
      socket.on('data', async () => {
        if (pause === 0) return void socket.write(interim + final);
        socket.write(interim);
        await sleep(pause);
        socket.write(final);
      });
    };
    for (const method of ['GET', 'POST', 'GET']) {
      const response = await send(`${gateway.url}/raw/x`, {
        method,
        body: method === 'POST' ? 'x' : undefined,
      });
      expect([response.status, response.headers.has('link'), await response.text()]).toEqual([
        200,
        false,
        'HTTP/1.1 100 x\r\n',
      ]);
    }
  });
});
