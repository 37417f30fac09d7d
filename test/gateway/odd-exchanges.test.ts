// Exchanges that are seldom seen and legal, or seldom seen and broken. The plain ones are in streaming.test.ts.
import { type EventEmitter, once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage, METHODS } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { sendBytes } from '../support/raw-socket.ts';
import { send, sendRaw } from '../support/send.ts';

const HEADERS_TIMEOUT_MS = 400;

let gateway: TestGateway;
let byteServer: Server;
/** What the byte server does with a connection once its request has begun. */
let answerBytes: (socket: Socket) => void;

beforeAll(async () => {
  byteServer = createServer((socket) => {
    socket.on('error', () => {}).once('data', () => answerBytes(socket));
  }).listen(0, '127.0.0.1');
  await once(byteServer, 'listening');
  gateway = await startTestGateway({
    stores: 'sqlite',
    config: `
upstreams:
  plain: { targets: ["\${UPSTREAM}"], timeouts: { headers: ${HEADERS_TIMEOUT_MS}ms, idle: 400ms } }
  bytes: { targets: ["http://127.0.0.1:${(byteServer.address() as AddressInfo).port}"] }
routes:
  - { path: /**, upstream: plain, access: public }
  - { path: /bytes/**, upstream: bytes, access: public }
  - { path: /private/**, upstream: plain, access: session }
`,
  });
});
afterEach(() => gateway.upstream.respond(undefined));
afterAll(async () => {
  await gateway?.close();
  byteServer.close();
});

function open(path: string, method = 'GET', headers: Record<string, string> = {}): ClientRequest {
  const request = httpRequest(`${gateway.url}${path}`, { method, headers, agent: false });
  request.on('error', () => {});
  onTestFinished(() => void request.destroy());
  return request;
}

async function answerTo(request: ClientRequest): Promise<IncomingMessage> {
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response.on('error', () => {});
}

/** Settles however it ends: a cut connection fails first. */
const closeOf = (emitter: EventEmitter) =>
  new Promise((resolve) => emitter.on('error', () => {}).once('close', resolve));

const textOf = async (response: IncomingMessage) => Buffer.concat(await response.toArray()).toString();

/** The upstream's next request, as soon as it arrives. */
function nextAtUpstream(answer?: 'begun'): Promise<IncomingMessage> {
  const { promise, resolve } = Promise.withResolvers<IncomingMessage>();
  gateway.upstream.respond((request, response) => {
    request.on('error', () => {}).resume();
    if (answer) response.write(answer);
    resolve(request);
  });
  return promise;
}

describe('a client that goes away', () => {
  const ways: [string, () => Promise<{ client: ClientRequest; socket: Socket }>][] = [
    [
      'before the answer',
      async () => {
        const arriving = nextAtUpstream();
        const client = open('/gone').end();
        return { client, socket: (await arriving).socket };
      },
    ],
    [
      'within the answer',
      async () => {
        const arriving = nextAtUpstream('begun');
        const client = open('/gone').end();
        await answerTo(client);
        return { client, socket: (await arriving).socket };
      },
    ],
    [
      'within its body',
      async () => {
        const arriving = nextAtUpstream();
        const client = open('/gone', 'POST');
        client.write('half of it');
        return { client, socket: (await arriving).socket };
      },
    ],
  ];
  test.each(ways)('%s takes the upstream request along within 100 ms', async (_when, begin) => {
    const delays: number[] = [];
    for (let round = 0; round < 5; round++) {
      const { client, socket } = await begin();
      const closed = closeOf(socket);
      const leftAt = performance.now();
      client.destroy();
      await closed;
      delays.push(performance.now() - leftAt);
    }
    const median = delays.sort((a, b) => a - b)[2];
    expect(median, `ms: ${delays}`).toBeLessThan(100);
  });
});

test('an upload that takes longer than the upstream may take to answer is no timeout', async () => {
  gateway.upstream.respond(async (request, response) => response.end(await textOf(request)));
  const request = open('/slow-writer', 'POST');
  const answering = answerTo(request);
  const startedAt = performance.now();
  let parts = '';
  while (performance.now() - startedAt < 4 * HEADERS_TIMEOUT_MS + 1000) {
    request.write('.');
    parts += '.';
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  request.end();
  const response = await answering;
  expect([response.statusCode, await textOf(response)]).toEqual([200, parts]);
});

test('an upstream that is silent after an upload is 504', async () => {
  gateway.upstream.respond((request) => void request.resume());
  const response = await send(`${gateway.url}/silent`, { method: 'POST', body: Buffer.alloc(1_000_000) });
  expect([response.status, await response.json()]).toEqual([
    504,
    expect.objectContaining({ code: 'upstream-timeout' }),
  ]);
});

test('both ways stream at once: each part comes back before the next is written', async () => {
  gateway.upstream.respond((request, response) => {
    response.flushHeaders();
    request.pipe(response);
  });
  const request = open('/echo', 'POST');
  request.write('zero');
  const response = await answerTo(request);
  expect(String(await once(response, 'data'))).toBe('zero');
  expect(response.headers['transfer-encoding']).toBe('chunked');
  for (const part of ['one', 'two', 'three']) {
    request.write(part);
    const [chunk] = (await once(response, 'data')) as [Buffer];
    expect(String(chunk)).toBe(part);
  }
  const ended = once(response, 'end');
  request.end();
  await ended;
  expect(response.complete).toBe(true);
});

test('an answer given before the upload ends arrives whole, and the upload may end', async () => {
  const answer = 'enough'.repeat(100_000);
  gateway.upstream.respond((_request, response) => response.writeHead(413).end(answer));
  const request = open('/early', 'POST', { 'content-length': '20000000' });
  request.write(Buffer.alloc(100));
  const response = await answerTo(request);
  expect([response.statusCode, await textOf(response)]).toEqual([413, answer]);
});

describe('broken answers', () => {
  const brokenBefore: [string, string][] = [
    ['garbage', '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n'],
    ['another protocol', '-ERR unknown command\r\n'],
    ['HTTP/0.9', '<html>hello</html>'],
    ['HTTP/2 frames', '\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0d'],
    ['the status 999', 'HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n'],
    ['the status 600', 'HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n'],
    ['the status 099', 'HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n'],
    ['the status 1000', 'HTTP/1.1 1000 Odd\r\nContent-Length: 0\r\n\r\n'],
    [
      'an upgrade nobody asked for',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
    ],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['a length that is none', 'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab'],
    [
      'a length and an encoding',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n',
    ],
    ['a header without a colon', 'HTTP/1.1 200 OK\r\nodd\r\nContent-Length: 0\r\n\r\n'],
    ['a header with a control character', 'HTTP/1.1 200 OK\r\nX-Odd: a\x01b\r\nContent-Length: 0\r\n\r\n'],
    ['too many headers', `HTTP/1.1 200 OK\r\nX-Long: ${'x'.repeat(100_000)}\r\nContent-Length: 0\r\n\r\n`],
    ['headers that end early', 'HTTP/1.1 200 OK\r\nContent-Length: 5'],
  ];
  test.each(brokenBefore)(
    '%s: 502 upstream-broken, in words that tell nothing of the upstream',
    async (_what, text) => {
      answerBytes = (socket) => socket.end(text, 'latin1');
      const response = await send(`${gateway.url}/bytes/x`);
      const { requestId, status, ...problem } = (await response.json()) as Record<string, unknown>;
      expect([response.status, status, problem.code]).toEqual([502, 502, 'upstream-broken']);
      expect(requestId).toBe(response.headers.get('x-request-id'));
      const told = JSON.stringify(problem);
      expect(told).not.toMatch(/\d+\.\d+\.\d+\.\d+|:\d|UND_|ECONN|HPE_|socket/i);
      expect((await send(`${gateway.url}/after`)).status).toBe(200);
    },
  );

  const brokenWithin: [string, string][] = [
    ['a length not reached', 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun'],
    ['no last chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n'],
    ['half a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nbegun'],
    ['a chunk of no size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\nzz\r\n\r\n'],
  ];
  test.each(brokenWithin)('%s: the client sees that its answer is cut', async (_what, text) => {
    answerBytes = (socket) => {
      // In two parts: the client has begun to read when the fault comes.
      const end = text.indexOf('begun') + 'begun'.length;
      socket.write(text.slice(0, end), 'latin1', () =>
        setTimeout(() => socket.end(text.slice(end), 'latin1'), 50),
      );
    };
    const response = await answerTo(open('/bytes/x').end());
    expect(response.statusCode).toBe(200);
    await closeOf(response);
    expect(response.complete).toBe(false);
    expect((await send(`${gateway.url}/after`)).status).toBe(200);
  });

  test('an answer whose end is the end of its connection arrives whole', async () => {
    answerBytes = (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nto the end');
    const response = await answerTo(open('/bytes/x').end());
    expect([await textOf(response), response.complete]).toEqual(['to the end', true]);
  });

  test('an answer in HTTP/1.0 arrives', async () => {
    answerBytes = (socket) => socket.end('HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold');
    expect(await (await send(`${gateway.url}/bytes/x`)).text()).toBe('old');
  });
});

test.each(['GET', 'DELETE', 'OPTIONS', 'QUERY', 'PROPFIND'])(
  'a %s with a body in chunks keeps it',
  async (method) => {
    gateway.upstream.respond(async (request, response) => {
      response.end(JSON.stringify([request.method, await textOf(request)]));
    });
    const request = open('/body', method, { 'transfer-encoding': 'chunked' });
    request.write('ke');
    request.end('pt');
    expect(JSON.parse(await textOf(await answerTo(request)))).toEqual([method, 'kept']);
  },
);

const forwarded = METHODS.filter((method) => !['CONNECT', 'TRACE', 'HEAD'].includes(method));
test.each(forwarded)('%s goes on as %s', async (method) => {
  const response = await send(`${gateway.url}/method`, { method });
  expect([response.status, await response.json()]).toEqual([200, expect.objectContaining({ method })]);
});

test('TRACE is 405 and never reaches the upstream', async () => {
  const before = gateway.upstream.seen.length;
  const response = await send(`${gateway.url}/method`, { method: 'TRACE' });
  expect([response.status, await response.json()]).toEqual([
    405,
    expect.objectContaining({ code: 'method-not-allowed' }),
  ]);
  expect(gateway.upstream.seen.length).toBe(before);
});

test('CONNECT is 405 and opens no way to the upstream', async () => {
  const before = gateway.upstream.seen.length;
  const { host } = new URL(gateway.upstream.url);
  const { status } = await sendBytes(
    gateway.url,
    `CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\nGET /through HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
  );
  expect(status).toBe(405);
  expect(gateway.upstream.seen.length).toBe(before);
});

describe('what an upstream answers comes through', () => {
  test('fifty cookies, each in its line and in order', async () => {
    const lines = Array.from(
      { length: 50 },
      (_, at) => `c${at}=${at}; Path=/; Expires=Wed, 21 Oct 2037 07:28:00 GMT`,
    );
    gateway.upstream.respond((_request, response) => response.setHeader('set-cookie', lines).end());
    expect((await send(`${gateway.url}/cookies`)).headers.getSetCookie()).toEqual(lines);
  });

  test.each([
    ['a/b;'],
    ['TEXT/HTML; CHARSET=UTF-8'],
    ['application/json; charset="quoted; yes"'],
    ['nonsense'],
    [''],
  ])('a Content-Type of "%s", as it is', async (type) => {
    gateway.upstream.respond((_request, response) => response.setHeader('Content-Type', type).end('x'));
    const { headers } = await sendRaw(`${gateway.url}/type`);
    expect(headers[headers.indexOf('Content-Type') + 1]).toBe(type);
  });

  test('no Content-Type, and none is added', async () => {
    gateway.upstream.respond((_request, response) => response.end('x'));
    const response = await send(`${gateway.url}/type`);
    expect([response.headers.has('content-type'), await response.text()]).toEqual([false, 'x']);
  });

  test.each([
    ['GET', 200, { 'content-length': '0' }],
    ['HEAD', 404, { 'content-length': '77', 'content-type': 'text/plain' }],
    ['HEAD', 200, { 'transfer-encoding': 'chunked' }],
    ['PUT', 204, { etag: '"1"' }],
    ['GET', 205, { 'content-length': '0' }],
    ['GET', 304, { 'content-length': '99', etag: 'W/"2"' }],
    ['GET', 599, { 'content-length': '0' }],
  ] as const)(
    'to %s the status %i without a body; the connection goes on',
    async (method, status, headers) => {
      gateway.upstream.respond((_request, response) => response.writeHead(status, headers).end());
      const request = `${method} /empty HTTP/1.1\r\nHost: x\r\n${method === 'PUT' ? 'Content-Length: 0\r\n' : ''}`;
      const { head, body } = await sendBytes(
        gateway.url,
        `${request}\r\n${request}Connection: close\r\n\r\n`,
      );
      expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      if ('content-length' in headers)
        expect(head.toLowerCase()).toContain(`content-length: ${headers['content-length']}\r\n`);
      // Nothing but the head of the second answer stands behind the head of the first.
      expect(body).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*\\r\\n\\r\\n$`));
    },
  );

  test('several ranges, byte for byte', async () => {
    const parts =
      '--b\r\nContent-Range: bytes 0-0/3\r\n\r\na\r\n--b\r\nContent-Range: bytes 2-2/3\r\n\r\nc\r\n--b--';
    gateway.upstream.respond((request, response) => {
      response.writeHead(206, {
        'content-type': 'multipart/byteranges; boundary=b',
        'x-range': request.headers.range,
      });
      response.end(parts);
    });
    const response = await send(`${gateway.url}/ranges`, { headers: { range: 'bytes=0-0,2-2' } });
    expect([response.status, response.headers.get('x-range'), await response.text()]).toEqual([
      206,
      'bytes=0-0,2-2',
      parts,
    ]);
  });

  test('an informational answer before it is kept from the client', async () => {
    gateway.upstream.respond((_request, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      response.writeEarlyHints({ link: '</more.css>; rel=preload' });
      response.end('final');
    });
    const { status, head } = await sendBytes(
      gateway.url,
      'GET /hints HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    );
    expect(status).toBe(200);
    expect(head).not.toContain('style.css');
  });

  const trailing: [string, string, string][] = [
    [
      'GET',
      'in chunks',
      'Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n',
    ],
    ['GET', 'that never come', 'Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\n\r\n'],
    ['GET', 'beside a length', 'Trailer: X-Sum\r\nContent-Length: 2\r\n\r\nok'],
    ['HEAD', 'without a body', 'Trailer: X-Sum\r\nContent-Length: 2\r\n\r\n'],
  ];
  test.each(trailing)('to %s trailers %s do no harm', async (method, _how, rest) => {
    answerBytes = (socket) => socket.end(`HTTP/1.1 200 OK\r\n${rest}`);
    const response = await answerTo(open('/bytes/trailer', method).end());
    expect([response.statusCode, await textOf(response)]).toEqual([200, method === 'HEAD' ? '' : 'ok']);
    expect(response.complete).toBe(true);
    expect((await send(`${gateway.url}/after`)).status).toBe(200);
  });

  test('bytes beyond ASCII in headers, byte for byte', async () => {
    answerBytes = (socket) =>
      socket.end('HTTP/1.1 200 OK\r\nX-Name: J\xf6rg \xe2\x82\xac\r\nContent-Length: 0\r\n\r\n', 'latin1');
    const { head } = await sendBytes(
      gateway.url,
      'GET /bytes/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    );
    expect(head).toContain('X-Name: J\xf6rg \xe2\x82\xac\r\n');
  });
});

test('a client that waits for 100 Continue is told to go on, and its body arrives', async () => {
  gateway.upstream.respond(async (request, response) => {
    response.end(JSON.stringify([request.headers.expect ?? null, await textOf(request)]));
  });
  const request = open('/continue', 'POST', { expect: '100-continue', 'content-length': '4' });
  request.flushHeaders();
  await once(request, 'continue');
  request.end('body');
  expect(JSON.parse(await textOf(await answerTo(request)))).toEqual([null, 'body']);
});

// A body that looks like requests: whoever takes it for them has lost count.
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2000);

test.each([
  ['with a length', `Content-Length: ${SMUGGLED.length}\r\n\r\n`, SMUGGLED],
  [
    'in chunks',
    'Transfer-Encoding: chunked\r\n\r\n',
    `${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
  ],
])(
  'an upload (%s) refused with 401 leaves the connection in step, or closed',
  async (_framing, head, body) => {
    const before = gateway.upstream.seen.length;
    const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    let text = '';
    let closed = false;
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += chunk;
    });
    socket
      .on('error', () => {})
      .once('close', () => {
        closed = true;
      });
    socket.write(`POST /private/upload HTTP/1.1\r\nHost: x\r\n${head}`);
    socket.write(body.slice(0, 1000));
    await expect.poll(() => text).toMatch(/^HTTP\/1\.1 401 /);
    socket.write(body.slice(1000));
    socket.write('GET /own HTTP/1.1\r\nHost: x\r\n\r\n');
    await expect.poll(() => closed || text.includes('"url":"/own"'), { timeout: 5000 }).toBe(true);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(
      closed ? ['HTTP/1.1 401'] : ['HTTP/1.1 401', 'HTTP/1.1 200'],
    );
    const arrived = gateway.upstream.seen.slice(before).map(({ url }) => url);
    expect(arrived).toEqual(closed ? [] : ['/own']);
  },
);
