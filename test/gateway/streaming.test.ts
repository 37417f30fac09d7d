import { createHash, randomBytes } from 'node:crypto';
import { type EventEmitter, once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, createServer as createTcpServer, type Server } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  type Surroundings,
  startSurroundings,
  startTestGateway,
  type TestGateway,
} from '../support/gateway.ts';
import { type GatewayProcess, startGatewayProcess } from '../support/gateway-process.ts';
import { send, sendRaw } from '../support/send.ts';
import { freePort } from '../support/servers/port.ts';

const MIB = 1024 * 1024;
const CHUNK = randomBytes(MIB);
/** Flat: buffers in flight and what the collector has not come to yet, but not the body. */
const MOST_GROWTH_MIB = 64;

/** However it comes: a connection that is cut ends with an error, too. */
const closeOf = (socket: EventEmitter) =>
  new Promise((resolve) => socket.on('error', () => {}).once('close', resolve));

describe('200 MB', () => {
  const SIZE = 200;
  let around: Surroundings;
  let gateway: GatewayProcess;
  beforeAll(async () => {
    const config = `
upstreams: { plain: { targets: ["\${UPSTREAM}"] } }
routes: [{ path: /**, upstream: plain, access: public }]
`;
    around = await startSurroundings({ stores: 'sqlite', config, logLevel: 'warn' });
    gateway = await startGatewayProcess(around);
    // What the process needs for itself, it has after some exchanges.
    around.upstream.respond((request, response) => {
      request.resume().once('end', () => response.end());
    });
    for (let round = 0; round < 4; round++)
      await send(`${gateway.url}/warm`, { method: 'POST', body: Buffer.alloc(25 * MIB) });
  });
  afterAll(async () => {
    await gateway?.end();
    await around?.close();
  });

  const expectedHash = () => {
    const hash = createHash('sha256');
    for (let sent = 0; sent < SIZE; sent++) hash.update(CHUNK);
    return hash.digest('hex');
  };
  /** Runs the work, and gives how far resident memory rose above its start meanwhile. */
  const growthDuring = async (work: () => Promise<unknown>) => {
    const start = gateway.memoryMiB();
    let highest = start;
    const watch = setInterval(() => {
      highest = Math.max(highest, gateway.memoryMiB());
    }, 20);
    try {
      await work();
    } finally {
      clearInterval(watch);
    }
    return highest - start;
  };
  const pour = async (to: NodeJS.WritableStream) => {
    for (let sent = 0; sent < SIZE; sent++) if (!to.write(CHUNK)) await once(to, 'drain');
    to.end();
  };
  const hashOf = async (from: AsyncIterable<Buffer>) => {
    const hash = createHash('sha256');
    let length = 0;
    for await (const chunk of from) {
      hash.update(chunk);
      length += chunk.length;
    }
    return { hash: hash.digest('hex'), length };
  };
  const open = (method: string, headers: Record<string, string> = {}) =>
    httpRequest(`${gateway.url}/big`, { method, headers, agent: false });
  const answered = async (request: ClientRequest) => (await once(request, 'response'))[0] as IncomingMessage;

  test.each(['chunked', 'with a length'])('go up %s, unchanged and without being kept', async (framing) => {
    around.upstream.respond((request, response) => {
      hashOf(request).then((result) => response.end(JSON.stringify({ ...result, headers: request.headers })));
    });
    const headers = framing === 'chunked' ? {} : { 'content-length': String(SIZE * MIB) };
    let answer = { hash: '', length: 0, headers: {} };
    const growth = await growthDuring(async () => {
      const request = open('POST', headers as Record<string, string>);
      const answering = answered(request);
      await pour(request);
      answer = JSON.parse(Buffer.concat(await (await answering).toArray()).toString());
    });
    expect(answer).toMatchObject({
      hash: expectedHash(),
      length: SIZE * MIB,
      headers: framing === 'chunked' ? { 'transfer-encoding': 'chunked' } : headers,
    });
    expect(growth).toBeLessThan(MOST_GROWTH_MIB);
  });

  test.each(['chunked', 'with a length'])(
    'come down %s, unchanged and without being kept',
    async (framing) => {
      around.upstream.respond((_request, response) => {
        if (framing !== 'chunked') response.setHeader('content-length', SIZE * MIB);
        pour(response);
      });
      let result = { hash: '', length: 0 };
      const growth = await growthDuring(async () => {
        const request = open('GET').end();
        const response = await answered(request);
        expect(response.headers['transfer-encoding']).toBe(framing === 'chunked' ? 'chunked' : undefined);
        result = await hashOf(response);
      });
      expect(result).toEqual({ hash: expectedHash(), length: SIZE * MIB });
      expect(growth).toBeLessThan(MOST_GROWTH_MIB);
    },
  );

  test('that the client does not read stay with the upstream', async () => {
    let written = 0;
    around.upstream.respond((_request, response) => {
      const more = () => {
        while (written < SIZE && !response.destroyed) {
          written += 1;
          if (!response.write(CHUNK)) return void response.once('drain', more);
        }
        response.end();
      };
      more();
    });
    const growth = await growthDuring(async () => {
      const request = open('GET').end();
      const response = await answered(request);
      // Stands still once every buffer on the way is full.
      let before = -1;
      await expect
        .poll(
          () => {
            const still = written === before;
            before = written;
            return still;
          },
          { interval: 300, timeout: 10_000 },
        )
        .toBe(true);
      expect(written).toBeLessThan(SIZE / 2);
      response.destroy();
    });
    expect(growth).toBeLessThan(MOST_GROWTH_MIB);
  });
});

describe('an exchange', () => {
  let gateway: TestGateway;
  let deadPort: number;
  let broken: Server;
  let brokenAnswer: string | null;
  beforeAll(async () => {
    deadPort = await freePort();
    broken = createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => brokenAnswer !== null && socket.end(brokenAnswer));
    }).listen(0, '127.0.0.1');
    await once(broken, 'listening');
    const { port } = broken.address() as { port: number };
    const config = `
upstreams:
  plain: { targets: ["\${UPSTREAM}"], timeouts: { connect: 500ms, headers: 400ms, idle: 400ms } }
  dead: { targets: ["http://127.0.0.1:${deadPort}"] }
  broken: { targets: ["http://127.0.0.1:${port}"], timeouts: { headers: 400ms } }
routes:
  - { path: /**, upstream: plain, access: public }
  - { path: /dead/**, upstream: dead, access: public }
  - { path: /broken/**, upstream: broken, access: public }
`;
    gateway = await startTestGateway({ stores: 'sqlite', config });
  });
  afterEach(() => gateway.upstream.respond(undefined));
  afterAll(async () => {
    broken.close();
    await gateway.close();
  });

  const problem = async (response: Response) => [response.status, await response.json()];
  const expectNothingInternal = async (response: Response) => {
    const text = (await response.clone().text()) + JSON.stringify([...response.headers]);
    for (const secret of [
      String(deadPort),
      new URL(gateway.upstream.url).port,
      'ECONN',
      'undici',
      'node_modules',
    ])
      expect(text).not.toContain(secret);
  };

  test('the client abandons is ended at the upstream', async () => {
    const arrived = Promise.withResolvers<IncomingMessage>();
    gateway.upstream.respond((request) => arrived.resolve(request));
    const client = httpRequest(`${gateway.url}/wait`, { agent: false }).end();
    client.on('error', () => {});
    const upstreamSide = await arrived.promise;
    const ended = closeOf(upstreamSide.socket);
    client.destroy();
    await ended;
  });

  test('the client abandons within the answer, or within its own body, is ended at the upstream', async () => {
    const arrived = Promise.withResolvers<IncomingMessage>();
    gateway.upstream.respond((request, response) => {
      response.write('begun');
      arrived.resolve(request);
    });
    const reader = httpRequest(`${gateway.url}/read`, { agent: false }).end();
    const [answer] = (await once(reader, 'response')) as [IncomingMessage];
    answer.on('error', () => {});
    const closed = closeOf((await arrived.promise).socket);
    reader.destroy();
    await closed;

    const uploading = Promise.withResolvers<IncomingMessage>();
    gateway.upstream.respond((request) => {
      request.on('error', () => {}).once('data', () => uploading.resolve(request));
    });
    const writer = httpRequest(`${gateway.url}/write`, { method: 'POST', agent: false });
    writer.on('error', () => {});
    writer.write('half of it');
    const upload = await uploading.promise;
    const gone = closeOf(upload.socket);
    writer.destroy();
    await gone;
    expect(upload.complete).toBe(false);
  });

  test('with an upstream that refuses connections is 502 in fixed words', async () => {
    const response = await send(`${gateway.url}/dead/x`);
    await expectNothingInternal(response);
    expect(await problem(response)).toEqual([502, expect.objectContaining({ code: 'upstream-unreachable' })]);
    expect(response.headers.get('x-gateway-intercepted-response')).toBe('true');
  });

  test('with an upstream that refuses connections answers an upload, too', async () => {
    const response = await send(`${gateway.url}/dead/x`, { method: 'POST', body: Buffer.alloc(3 * MIB) });
    expect(await problem(response)).toEqual([502, expect.objectContaining({ code: 'upstream-unreachable' })]);
  });

  test('with a silent upstream is 504 after the configured time', async () => {
    gateway.upstream.respond(() => {});
    const startedAt = performance.now();
    const response = await send(`${gateway.url}/silent`);
    await expectNothingInternal(response);
    expect(await problem(response)).toEqual([504, expect.objectContaining({ code: 'upstream-timeout' })]);
    expect(performance.now() - startedAt).toBeGreaterThan(350);
    expect(performance.now() - startedAt).toBeLessThan(4000);
  });

  test.each([
    ['nothing', ''],
    ['no HTTP', 'hello\r\n\r\n'],
    ['half a header', 'HTTP/1.1 200 OK\r\nX: '],
    ['a status out of range', 'HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n'],
  ])('with an upstream that says %s is 502 upstream-broken', async (_what, text) => {
    brokenAnswer = text;
    const response = await send(`${gateway.url}/broken/x`);
    await expectNothingInternal(response);
    expect(await problem(response)).toEqual([502, expect.objectContaining({ code: 'upstream-broken' })]);
  });

  test.each([
    [
      'with a length',
      (response: { setHeader(name: string, value: string): void }) =>
        response.setHeader('content-length', '1000'),
    ],
    ['chunked', () => {}],
  ])('whose answer (%s) is cut looks cut to the client', async (_framing, prepare) => {
    gateway.upstream.respond((request, response) => {
      prepare(response);
      response.write('begun', () => setImmediate(() => request.socket.destroy()));
    });
    await expect(sendRaw(`${gateway.url}/cut`)).rejects.toThrow(/aborted|socket hang up|ECONNRESET/);
  });

  test('whose answer stops in the middle is cut after the idle time', async () => {
    gateway.upstream.respond((_request, response) => void response.write('begun'));
    await expect(sendRaw(`${gateway.url}/idle`)).rejects.toThrow(/aborted|socket hang up|ECONNRESET/);
  });

  test('answered before its upload ends delivers the answer, and the gateway goes on', async () => {
    gateway.upstream.respond((_request, response) => {
      response.writeHead(413, { 'content-type': 'text/plain', connection: 'close' }).end('enough');
    });
    for (let round = 0; round < 5; round++) {
      const client = httpRequest(`${gateway.url}/early`, { method: 'POST', agent: false });
      client.on('error', () => {});
      client.write(CHUNK.subarray(0, 64 * 1024));
      const [response] = (await once(client, 'response')) as [IncomingMessage];
      expect(response.statusCode).toBe(413);
      expect(Buffer.concat(await response.toArray()).toString()).toBe('enough');
      client.destroy();
    }
    gateway.upstream.respond(undefined);
    expect((await send(`${gateway.url}/after`)).status).toBe(200);
  });

  test.each(['GET', 'DELETE', 'POST', 'PROPFIND', 'QUERY'])(
    'with a body under %s keeps it',
    async (method) => {
      gateway.upstream.respond(async (request, response) => {
        response.end(
          JSON.stringify({ method: request.method, body: Buffer.concat(await request.toArray()).toString() }),
        );
      });
      const response = await send(`${gateway.url}/body`, { method, body: 'kept' });
      expect([response.status, await response.json()]).toEqual([200, { method, body: 'kept' }]);
    },
  );

  test.each([
    'GET',
    'POST',
    'PUT',
    'PATCH',
    'DELETE',
    'OPTIONS',
    'PROPFIND',
    'REPORT',
    'MKCOL',
    'LOCK',
    'SEARCH',
    'PURGE',
  ])('with the method %s passes, without a body too', async (method) => {
    const response = await send(`${gateway.url}/any?q=1`, { method, headers: { 'content-length': '0' } });
    expect(await response.json()).toMatchObject({ method, url: '/any?q=1' });
  });

  test('keeps the type and bytes of a body, whatever it claims to be', async () => {
    gateway.upstream.respond(async (request, response) => {
      response
        .setHeader('x-type', request.headers['content-type'] ?? 'none')
        .end(Buffer.concat(await request.toArray()));
    });
    const body = Buffer.from([0, 255, 128, 13, 10, 0]);
    for (const type of [
      'application/json',
      'a/b;',
      'multipart/form-data',
      'TEXT/plain; charset=latin1',
      undefined,
    ]) {
      const headers: Record<string, string> = type === undefined ? {} : { 'content-type': type };
      const response = await sendRaw(`${gateway.url}/bytes`, { method: 'POST', headers, body });
      expect(response.body).toEqual(body);
      expect(response.headers).toContain(type ?? 'none');
    }
  });

  test.each([
    ['HEAD', 200, { 'content-length': '1234', etag: '"x"' }],
    ['GET', 204, { etag: '"y"' }],
    ['GET', 304, { etag: '"z"', 'content-length': '99' }],
    ['GET', 206, { 'content-range': 'bytes 0-3/10', 'content-length': '4' }],
    ['GET', 200, { 'content-encoding': 'gzip', 'content-length': '4' }],
  ] as const)('answered to %s with %i keeps its headers', async (method, status, headers) => {
    gateway.upstream.respond((_request, response) => {
      response
        .writeHead(status, headers)
        .end(status === 206 || 'content-encoding' in headers ? 'abcd' : undefined);
    });
    const response = await sendRaw(`${gateway.url}/as-is`, { method, headers: { range: 'bytes=0-3' } });
    expect(response.status).toBe(status);
    const received = Object.fromEntries(
      response.headers.flatMap((name, at) =>
        at % 2 ? [] : [[name.toLowerCase(), response.headers[at + 1]]],
      ),
    );
    expect(received).toMatchObject(headers);
    expect(received).not.toHaveProperty('transfer-encoding');
  });

  test('answered with a redirect is not followed', async () => {
    gateway.upstream.respond((_request, response) =>
      response.writeHead(302, { location: 'http://127.0.0.1:1/elsewhere' }).end(),
    );
    const response = await send(`${gateway.url}/moved`);
    expect([response.status, response.headers.get('location')]).toEqual([
      302,
      'http://127.0.0.1:1/elsewhere',
    ]);
  });

  test('keeps repeated and odd headers of the answer, but none that is for one connection', async () => {
    gateway.upstream.respond((_request, response) => {
      response.writeHead(200, [
        ...['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'X-Twice', '1', 'X-Twice', '2', 'x_odd.name', 'v'],
        ...[
          'Connection',
          'X-Only-Here',
          'X-Only-Here',
          '1',
          'Keep-Alive',
          'timeout=9',
          'Proxy-Authenticate',
          'Basic',
        ],
      ]);
      response.end('ok');
    });
    const { headers } = await sendRaw(`${gateway.url}/headers`);
    expect(headers.filter((each) => /^Set-Cookie$/i.test(each))).toHaveLength(2);
    expect(headers.filter((each) => each === 'X-Twice')).toHaveLength(2);
    expect(headers).toContain('x_odd.name');
    expect(headers.join().toLowerCase()).not.toMatch(/x-only-here|timeout=9|proxy-authenticate/);
  });

  test('ignores informational answers', async () => {
    gateway.upstream.respond((_request, response) => {
      response.writeProcessing();
      response.writeEarlyHints({ link: '</x>; rel=preload' });
      response.end('final');
    });
    const response = await send(`${gateway.url}/hints`);
    expect([response.status, await response.text()]).toEqual([200, 'final']);
  });

  test('streams: each part arrives before the next is sent', async () => {
    const parts = ['one', 'two', 'three'];
    let next = () => {};
    gateway.upstream.respond((_request, response) => {
      response.setHeader('content-type', 'text/event-stream').flushHeaders();
      next = () => {
        const part = parts.shift();
        if (part === undefined) response.end();
        else response.write(part);
      };
      next();
    });
    const client = httpRequest(`${gateway.url}/events`, { agent: false }).end();
    const [response] = (await once(client, 'response')) as [IncomingMessage];
    const received: string[] = [];
    for await (const chunk of response.setEncoding('utf8')) {
      received.push(chunk);
      next();
    }
    expect(received).toEqual(['one', 'two', 'three']);
  });

  test('on a kept connection follows the one before, with a body or without', async () => {
    const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    for (let number = 1; number <= 5; number++)
      socket.write(`POST /n/${number} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody`);
    await expect
      .poll(() => [...text.matchAll(/"url":"\/n\/(\d)"/g)].map(([, n]) => n))
      .toEqual(['1', '2', '3', '4', '5']);
    socket.destroy();
  });
});
