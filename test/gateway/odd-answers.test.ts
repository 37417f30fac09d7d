// Upstreams that say odd things, refuse, or take their time: each harms its own exchange at most.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { manyAtOnce } from '../support/many.ts';
import { randomFrom, sample } from '../support/random.ts';
import { requestText, sendBytes } from '../support/raw-socket.ts';
import { ODD_FIELDS, STANDARD_FIELDS } from '../support/response-fields.ts';
import { isFullRun, scale, UNHURRIED } from '../support/scale.ts';
import { send, sendRaw } from '../support/send.ts';

let gateway: TestGateway;
let bytes: Server;
/** What the byte server says to a request for this path. */
let answerFor: (path: string) => string | null;

beforeAll(async () => {
  bytes = createServer((socket) => {
    let head = '';
    socket
      .on('error', () => {})
      .on('data', (data) => {
        head += data.toString('latin1');
        if (!head.includes('\r\n\r\n')) return;
        const answer = answerFor(/^\S+ (\S+) /.exec(head)?.[1] ?? '');
        head = '';
        if (answer !== null) socket.write(answer, 'latin1');
      });
  }).listen(0, '127.0.0.1');
  await once(bytes, 'listening');
  gateway = await startTestGateway({
    stores: 'sqlite',
    logLevel: 'error',
    config: `
upstreams:
  plain: { targets: ["\${UPSTREAM}"] }
  bytes: { targets: ["http://127.0.0.1:${(bytes.address() as AddressInfo).port}"], timeouts: { headers: 1s, idle: 300ms } }
routes:
  - { path: /**, upstream: plain, access: public }
  - { path: /bytes/**, upstream: bytes, access: public }
`,
  });
});
afterEach(() => gateway.upstream.respond(undefined));
afterAll(async () => {
  await gateway?.close();
  bytes.close();
});

const KINDS = [
  ['GET', 200, 'ok'],
  ['HEAD', 200, ''],
  ['GET', 204, ''],
  ['GET', 304, ''],
] as const;
const HOP_BY_HOP =
  /\r\n(trailer|keep-alive|upgrade|te|proxy-(?:authenticate|connection|authentication-info)|http2-settings|x-gateway-intercepted-response): /i;

test(
  'no field of an answer, standard or odd, ends the process or comes out as something else',
  UNHURRIED,
  async (context) => {
    expect(STANDARD_FIELDS.length).toBeGreaterThanOrEqual(120);
    expect(ODD_FIELDS.length).toBeGreaterThanOrEqual(200);
    const fields = [
      ...STANDARD_FIELDS.slice(0, scale({ quick: 20, full: STANDARD_FIELDS.length })),
      ...sample(ODD_FIELDS, scale({ quick: 60, full: ODD_FIELDS.length }), randomFrom(20_300_115)),
    ];
    const tries = fields.flatMap((field) => KINDS.map((kind) => ({ field, kind })));
    const faults: string[] = [];
    let refused = 0;
    answerFor = (path) => {
      const { field, kind } = tries[Number(path.slice('/bytes/'.length))] ?? {};
      if (field === undefined || kind === undefined) return null;
      const [method, status] = kind;
      const framing =
        status === 200 && !/^(content-length|transfer-encoding)/i.test(field) ? 'Content-Length: 2\r\n' : '';
      return `HTTP/1.1 ${status} X\r\n${field}\r\n${framing}\r\n${status === 200 && method === 'GET' ? 'ok' : ''}`;
    };
    await manyAtOnce(tries, 16, async ({ field, kind: [method, status, body] }, at) => {
      const answer = await sendBytes(gateway.url, requestText(`/bytes/${at}`, [], method));
      if (answer.status === 502 || answer.status === 504) refused++;
      else if (
        answer.status !== status ||
        (answer.body !== body && !/^2\r\nok\r\n/.test(answer.body)) ||
        HOP_BY_HOP.test(`${answer.head}\r\n`)
      )
        faults.push(
          `${method} ${status} ${JSON.stringify(field.slice(0, 80))}: ${answer.head.slice(0, 300)} | ${answer.body.slice(0, 40)}`,
        );
    });
    expect((await send(`${gateway.url}/after`)).status).toBe(200);
    report(context, {
      'odd upstream headers × methods: tried': tries.length,
      'odd upstream headers × methods: crashes': faults.length,
      standard: scale({ quick: 20, full: STANDARD_FIELDS.length }),
      odd: scale({ quick: 60, full: ODD_FIELDS.length }),
      refused,
    });
    expect(faults).toEqual([]);
  },
);

test(
  '503 of an upstream is passed on: each request is sent once, and others are served meanwhile',
  UNHURRIED,
  async (context) => {
    const clients = scale({ quick: 5, full: 100 });
    const waits = [undefined, '120', '0', '-1', 'soon', 'Wed, 21 Oct 2037 07:28:00 GMT'];
    const sizes = [0, 1000, scale({ quick: 100_000, full: 1_000_000 })];
    let arrived = 0;
    gateway.upstream.respond((request, response) => {
      if (request.url === '/healthy') return void response.end('well');
      arrived++;
      const [, wait, size] = /^\/refusing\/(\d+)\/(\d+)$/.exec(request.url ?? '') ?? [];
      const after = waits[Number(wait)];
      response
        .writeHead(503, after === undefined ? {} : { 'retry-after': after })
        .end(Buffer.alloc(Number(size), 'x'));
    });
    let sent = 0;
    const healthyMs: number[] = [];
    for (const [wait, after] of waits.entries())
      for (const size of sizes)
        await Promise.all(
          Array.from({ length: clients }, async (_none, at) => {
            if (at % 5 === 0) {
              const startedAt = performance.now();
              expect((await send(`${gateway.url}/healthy`)).status).toBe(200);
              healthyMs.push(performance.now() - startedAt);
            }
            const { status, headers, body } = await sendRaw(`${gateway.url}/refusing/${wait}/${size}`);
            sent++;
            const told = headers[headers.findIndex((name) => /^retry-after$/i.test(name)) + 1];
            expect([status, body.length, after === undefined ? undefined : told]).toEqual([503, size, after]);
          }),
        );
    report(context, {
      sent,
      'upstream tries per request': arrived / sent,
      healthyP99Ms: Math.round(healthyMs.sort((a, b) => a - b)[Math.floor(healthyMs.length * 0.99)] ?? 0),
    });
    expect(arrived).toBe(sent);
  },
);

test('the length of a 204, which should have none, is not told: no client waits for it', async () => {
  for (const length of [0, 2, 5000]) {
    answerFor = () => `HTTP/1.1 204 No Content\r\nContent-Length: ${length}\r\nX-Kept: 1\r\n\r\n`;
    const answer = await sendBytes(gateway.url, requestText('/bytes/x'));
    expect([answer.status, answer.body]).toEqual([204, '']);
    expect(answer.head).toMatch(/\r\nX-Kept: 1\r\n/);
    expect(answer.head).not.toMatch(/content-length/i);
  }
});

describe('an upstream that takes its time', () => {
  /** Sends a byte now and then for as long as anybody listens. */
  const trickle = async (text: string, everyMs: number) => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', async () => {
        for (const byte of text) {
          if (socket.destroyed) return;
          socket.write(byte, 'latin1');
          await sleep(everyMs);
        }
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const slow = await startTestGateway({
      stores: 'sqlite',
      config: `
upstreams:
  slow: { targets: ["http://127.0.0.1:${(server.address() as AddressInfo).port}"], timeouts: { headers: 600ms, idle: 300ms } }
routes: [{ path: /**, upstream: slow, access: public }]
`,
    });
    onTestFinished(() => slow.close());
    return slow;
  };

  test('with its head, byte by byte, is cut when the time for the head is over', async (context) => {
    const slow = await trickle(
      `HTTP/1.1 200 OK\r\nX-Slow: ${'x'.repeat(500)}\r\nContent-Length: 0\r\n\r\n`,
      50,
    );
    const startedAt = performance.now();
    const response = await send(`${slow.url}/x`);
    const tookMs = Math.round(performance.now() - startedAt);
    report(context, { headersTimeoutMs: 600, tookMs });
    expect([response.status, (await response.json()).code]).toEqual([504, 'upstream-timeout']);
    expect(tookMs).toBeLessThan(10_000);
  });

  test('with its body is cut when it is silent for too long', async () => {
    const slow = await trickle('HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n', 0);
    await expect(sendRaw(`${slow.url}/x`)).rejects.toThrow(/aborted|socket hang up|ECONNRESET/);
  });
});

test('a client that takes its time with its head is cut', { timeout: 60_000 }, async (context) => {
  expect(gateway.app.server.headersTimeout).toBe(30_000);
  if (!isFullRun) return;
  const startedAt = performance.now();
  const { status, head } = await slowHead(gateway.url);
  const tookS = Math.round((performance.now() - startedAt) / 1000);
  report(context, { slowHeadCutAfterS: tookS });
  expect([status, /connection: close/i.test(head)]).toEqual([400, true]);
  expect(tookS).toBeLessThanOrEqual(40);
});

/** A byte of the head every second. */
async function slowHead(url: string) {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  let text = '';
  socket
    .on('error', () => {})
    .on('data', (data) => {
      text += data.toString('latin1');
    });
  socket.write('GET /x HTTP/1.1\r\nHost: a\r\nX-Slow: ');
  const timer = setInterval(() => socket.write('x'), 1000);
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(timer);
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), head: text };
}
