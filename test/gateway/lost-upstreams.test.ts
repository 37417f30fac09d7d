// Upstreams that cannot be reached, go away within an exchange, or whose clients do.
import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { report } from '../support/figures.ts';
import { type Surroundings, startSurroundings } from '../support/gateway.ts';
import { type GatewayProcess, startGatewayProcess } from '../support/gateway-process.ts';
import { manyAtOnce } from '../support/many.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { send } from '../support/send.ts';
import { freePort } from '../support/servers/port.ts';

let around: Surroundings;
let gateway: GatewayProcess;
let raw: Server;
let onConnection: (socket: Socket) => void = () => {};
const connections = new Set<Socket>();
let rawPort: number;
let refusedPort: number;

beforeAll(async () => {
  raw = createServer((socket) => {
    connections.add(socket.on('error', () => {}));
    onConnection(socket);
  }).listen(0, '127.0.0.1');
  await once(raw, 'listening');
  rawPort = (raw.address() as AddressInfo).port;
  refusedPort = await freePort();
  // No name server is asked for a name this long.
  const noName = `${'x'.repeat(64)}.localhost.example`;
  around = await startSurroundings({
    stores: 'sqlite',
    logLevel: 'warn',
    config: `
upstreams:
  plain: { targets: ["\${UPSTREAM}"] }
  refused: { targets: ["http://127.0.0.1:${refusedPort}"] }
  raw: { targets: ["http://127.0.0.1:${rawPort}"], timeouts: { connect: 5s, headers: 1s } }
  silent: { targets: ["https://127.0.0.1:${rawPort}"], timeouts: { connect: 1s } }
  unknown: { targets: ["http://${noName}"], timeouts: { connect: 1s } }
routes:
  - { path: /**, upstream: plain, access: public }
  - { path: /refused/**, upstream: refused, access: public }
  - { path: /raw/**, upstream: raw, access: public }
  - { path: /silent/**, upstream: silent, access: public }
  - { path: /unknown/**, upstream: unknown, access: public }
`,
  });
  gateway = await startGatewayProcess(around);
});
afterEach(async () => {
  around.upstream.respond(undefined);
  // The next test's requests go over connections of their own.
  await Promise.all([...connections].map((socket) => socket.closed || once(socket.destroy(), 'close')));
  connections.clear();
});
afterAll(async () => {
  await gateway?.end();
  await around?.close();
  raw?.close();
});

/** Whether it carried the request, or the connection was only thought to stand, is a matter of moments. */
const CUT = '502 upstream-(broken|unreachable)|504 upstream-timeout';
/** Clients that are there at once. */
const ROUND = 100;

function begin(id: string): [string, ClientRequest] {
  const method = id.endsWith('0') ? 'POST' : 'GET';
  const request = httpRequest(gateway.url + id, { method, agent: false }).on('error', () => {});
  if (method === 'POST') request.write('begun');
  else request.end();
  return [id, request];
}

const LIMIT_MS = scale({ quick: 10_000, full: 20_000 });

test.for<[what: string, path: string, onConnection: (socket: Socket) => void, outcome: string]>([
  ['refuses connections', '/refused/x', () => {}, '502 upstream-unreachable'],
  ['resets every connection', '/raw/x', (socket) => socket.resetAndDestroy(), CUT],
  ['closes every connection', '/raw/x', (socket) => socket.end().resume(), CUT],
  ['says nothing', '/raw/x', (socket) => void socket.resume(), '504 upstream-timeout'],
  ['begins no TLS', '/silent/x', (socket) => void socket.resume(), '504 upstream-timeout'],
  [
    'speaks no TLS',
    '/silent/x',
    (socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    '502 upstream-unreachable',
  ],
  ['has no address', '/unknown/x', () => {}, '502 upstream-unreachable'],
])(
  'an upstream that %s is answered for in time, in fixed words, however often it is asked',
  UNHURRIED,
  async ([, path, behave, expected], context) => {
    const requests = scale({ quick: 40, full: 1000 });
    onConnection = behave;
    const outcomes = new Map<string, number>();
    const tookMs: number[] = [];
    await manyAtOnce(Array.from({ length: requests }), 50, async () => {
      const startedAt = performance.now();
      const response = await send(gateway.url + path);
      tookMs.push(performance.now() - startedAt);
      const { requestId, ...told } = (await response.json()) as Record<string, unknown>;
      const outcome = `${response.status} ${told.code}`;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      expect(requestId).toBe(response.headers.get('x-request-id'));
      const said = JSON.stringify(told) + JSON.stringify([...response.headers]);
      // A random id may hold a port by chance.
      const text = said.replaceAll(String(requestId), '');
      for (const secret of [
        String(rawPort),
        String(refusedPort),
        '127.0.0.1',
        'xxxx',
        'ECONN',
        'ENOTFOUND',
        'SSL',
        'socket',
      ])
        expect(text).not.toContain(secret);
    });
    const p99Ms = Math.round(tookMs.sort((a, b) => a - b)[Math.floor(requests * 0.99)] ?? 0);
    const after = await send(`${gateway.url}/after`).then(
      ({ status }) => status,
      () => 0,
    );
    report(context, {
      requests,
      p99Ms,
      'unreachable upstreams: asked': requests,
      'unreachable upstreams: crashes': after === 200 ? 0 : 1,
    });
    expect([...outcomes.keys()].filter((each) => !new RegExp(`^(?:${expected})$`).test(each))).toEqual([]);
    expect(p99Ms).toBeLessThan(LIMIT_MS);
    expect(after).toBe(200);
  },
);

test(
  'slow requests whose clients go away leave nothing behind at the upstream',
  UNHURRIED,
  async (context) => {
    const clients = scale({ quick: 100, full: 1000 });
    const open = new Map<string, ServerResponse>();
    const closedAt = new Map<string, number>();
    around.upstream.respond((request, response) => {
      const id = request.url ?? '';
      if (id === '/other') return void response.end('well');
      open.set(id, response);
      request.resume();
      response.once('close', () => {
        open.delete(id);
        closedAt.set(id, performance.now());
      });
    });
    const leftAt = new Map<string, number>();
    let orphans = 0;
    for (let first = 0; first < clients; first += ROUND) {
      const requests = Array.from({ length: ROUND }, (_none, at) => begin(`/slow-${first + at}`));
      await expect.poll(() => open.size, { timeout: 20_000 }).toBe(ROUND);
      for (const [at, [id, request]] of requests.entries()) {
        leftAt.set(id, performance.now());
        request.destroy();
        // One after the other, as people leave, so that each is timed and not the queue of them.
        if (at % 5 === 4) await sleep(10);
      }
      await sleep(100);
      orphans += open.size;
      await expect.poll(() => open.size, { timeout: 10_000 }).toBe(0);
    }
    expect((await send(`${gateway.url}/other`)).status).toBe(200);
    const delays = [...closedAt].map(([id, at]) => at - (leftAt.get(id) ?? at)).sort((a, b) => a - b);
    report(context, {
      'aborted slow requests: tried': clients,
      'aborted slow requests: orphans after 100 ms': orphans,
      medianMs: Math.round(delays[delays.length >> 1] ?? 0),
      slowestMs: Math.round(delays.at(-1) ?? 0),
    });
    expect(delays[delays.length >> 1]).toBeLessThan(scale({ quick: 2000, full: 250 }));
    expect(closedAt.size).toBe(clients);
  },
);

test('what an upstream may have carried out is never sent twice', UNHURRIED, async (context) => {
  const requests = scale({ quick: 60, full: 1000 });
  const effects = new Map<string, number>();
  onConnection = (socket) => {
    let served = 0;
    let text = '';
    socket.on('data', (data) => {
      text += data.toString('latin1');
      if (!text.endsWith('body')) return;
      for (const [, id = ''] of text.matchAll(/^(?:POST|PUT|DELETE|GET) \/raw\/(\S+) /gm))
        effects.set(id, (effects.get(id) ?? 0) + 1);
      text = '';
      // The first on a connection is answered; the next is carried out, and nothing said of it.
      if (served++ === 0) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      else if (served % 2 === 0) socket.resetAndDestroy();
      else socket.end();
    });
  };
  const statuses = new Map<number, number>();
  await manyAtOnce(Array.from({ length: requests }), 4, async (_none, at) => {
    const method = ['POST', 'PUT', 'DELETE', 'GET'][at % 4];
    const { status } = await send(`${gateway.url}/raw/${at}`, { method, body: 'body' });
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  });
  const twice = [...effects.values()].filter((count) => count > 1).length;
  report(context, {
    'requests reset after they were sent: tried': requests,
    'requests reset after they were sent: sent twice': twice,
    ...Object.fromEntries([...statuses].map(([status, count]) => [`answers${status}`, count])),
  });
  expect(twice).toBe(0);
  expect(statuses.get(502)).toBeGreaterThan(requests / 10);
  expect((statuses.get(502) ?? 0) + (statuses.get(200) ?? 0)).toBe(requests);
});
