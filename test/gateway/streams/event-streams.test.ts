// Event streams as they pass: each event at once, nothing changed, nothing cut that breathes, nothing lost.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { report } from '../../support/figures.ts';
import { type Surroundings, startSurroundings } from '../../support/gateway.ts';
import { type GatewayProcess, startGatewayProcess } from '../../support/gateway-process.ts';
import { scale, UNHURRIED } from '../../support/scale.ts';
import { closeOf, type EventStream, openEventStream, openWebSocket } from '../../support/streams.ts';

const IDLE_STREAMS = scale({ quick: 550, full: 1000 });
const IDLE_MS = scale({ quick: 2000, full: 300_000 });
const EVERY_MS = scale({ quick: 2000, full: 10_000 });
const EVENTS = scale({ quick: 100, full: 2000 });
/** Alone on the machine, and beside other tests. */
const MOST_LAG_MS = scale({ quick: 3000, full: 50 });

let around: Surroundings;
let gateway: GatewayProcess & Pick<Surroundings, 'upstream'>;
beforeAll(async () => {
  around = await startSurroundings({
    stores: 'sqlite',
    logLevel: 'warn',
    config: `
upstreams:
  hub: { targets: ["\${UPSTREAM}"], timeouts: { idle: 300ms } }
  brief: { targets: ["\${UPSTREAM}"], timeouts: { stream: 400ms } }
routes:
  - { path: /events/**, upstream: hub, access: public }
  - { path: /brief/**, upstream: brief, access: public }
  - { path: /briefer/**, upstream: hub, access: public, timeouts: { stream: 400ms } }
# Other tests may keep the machine busy.
server: { maxDelay: 1m }
`,
  });
  gateway = { ...(await startGatewayProcess(around)), upstream: around.upstream };
});
afterEach(() => {
  gateway.upstream.respond(undefined);
  gateway.upstream.upgrade(undefined);
});
afterAll(async () => {
  await gateway?.end();
  await around?.close();
});

const at = (path: string) => `${gateway.url}${path}`;

/** Lets the upstream answer with event streams; what comes of each is handed on. */
const acceptStreams = (onStream: (response: ServerResponse, request: IncomingMessage) => void) =>
  gateway.upstream.respond((request, response) => {
    response.on('error', () => {});
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }).flushHeaders();
    onStream(response, request);
  });

const open = async (path: string, headers?: Record<string, string>): Promise<EventStream> => {
  const stream = await openEventStream(at(path), { headers });
  onTestFinished(() => stream.close());
  expect(stream.response.statusCode).toBe(200);
  return stream;
};

test('each event is at the client before the next one is sent', async (context) => {
  const upstreamSide = Promise.withResolvers<ServerResponse>();
  acceptStreams((response) => upstreamSide.resolve(response));
  const stream = await open('/events/x');
  const response = await upstreamSide.promise;
  const lags: number[] = [];
  for (let sent = 0; sent < EVENTS; sent++) {
    const from = performance.now();
    const came = once(stream.response, 'data');
    response.write(`id: ${sent}\ndata: ${'x'.repeat((sent * 37) % 5000)}\n\n`);
    await came;
    lags.push(performance.now() - from);
  }
  const { p50, p99, most } = spread(lags);
  report(context, { events: EVENTS, p50Ms: p50, p99Ms: p99, mostMs: most });
  expect(p99).toBeLessThan(MOST_LAG_MS);
  await expect.poll(() => stream.text().match(/^id: /gm)?.length).toBe(EVENTS);
});

test('streams that are idle are not cut, and lose nothing', UNHURRIED, async (context) => {
  const responses: ServerResponse[] = [];
  acceptStreams((response) => responses.push(response));
  const streams: EventStream[] = [];
  while (streams.length < IDLE_STREAMS)
    streams.push(...(await Promise.all(Array.from({ length: 50 }, () => open('/events/idle')))));
  expect(responses.length).toBe(IDLE_STREAMS);
  // Ordinary requests do not wait for the connections of streams.
  gateway.upstream.respond(undefined);
  expect((await fetch(at('/events/plain'))).status).toBe(200);

  const over: string[] = [];
  const lags: number[] = [];
  for (const { ended, response } of streams) {
    ended.then((how) => over.push(how));
    response.on('data', (chunk) => {
      for (const [, sentAt] of String(chunk).matchAll(/sent (\S+)/g))
        lags.push(performance.now() - Number(sentAt));
    });
  }
  let sent = 0;
  const startedAt = performance.now();
  for (let now = startedAt; now < startedAt + IDLE_MS; now = performance.now()) {
    // Each has its turn, again and again, and is silent meanwhile.
    const due = ((now - startedAt) / EVERY_MS) * IDLE_STREAMS;
    for (; sent < due; sent++)
      responses[sent % IDLE_STREAMS]?.write(`data: ${sent} sent ${performance.now()}\n\n`);
    await sleep(5);
  }
  await expect.poll(() => lags.length, { timeout: 10_000 }).toBe(sent);
  const { p50, p99, most } = spread(lags);
  const late = lags.filter((ms) => ms > 50).length;
  report(context, {
    streams: IDLE_STREAMS,
    seconds: IDLE_MS / 1000,
    events: sent,
    lost: sent - lags.length,
    cut: over.length,
    p50Ms: p50,
    p99Ms: p99,
    mostMs: most,
    laterThan50Ms: late,
  });
  expect(over).toEqual([]);
  expect(p99).toBeLessThan(MOST_LAG_MS);
});

test('what the client says about where it was goes up, and its end comes down', async () => {
  acceptStreams((response, request) => {
    response.end(`id: 43\ndata: after ${request.headers['last-event-id']}\n\n`);
  });
  const stream = await open('/events/x', { 'last-event-id': '42' });
  expect(await stream.ended).toBe('end');
  expect(stream.text()).toBe('id: 43\ndata: after 42\n\n');
});

test('compressed events stay as they are', async () => {
  const compressed = gzipSync('data: small\n\n'.repeat(100));
  gateway.upstream.respond((_request, response) => {
    response
      .writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' })
      .end(compressed);
  });
  const { request } = await import('node:http');
  const response = await new Promise<IncomingMessage>((resolve) => {
    request(at('/events/x'), { headers: { 'accept-encoding': 'gzip' } }, resolve).end();
  });
  expect(response.headers['content-encoding']).toBe('gzip');
  expect(Buffer.concat(await response.toArray())).toEqual(compressed);
});

test('a client that leaves is told to the upstream at once', async () => {
  const upstreamSide = Promise.withResolvers<ServerResponse>();
  acceptStreams((response) => upstreamSide.resolve(response));
  const stream = await open('/events/x');
  const response = await upstreamSide.promise;
  response.write('data: 1\n\n');
  await expect.poll(() => stream.text()).toBe('data: 1\n\n');
  const gone = once(response, 'close');
  const from = performance.now();
  stream.close();
  await gone;
  expect(performance.now() - from).toBeLessThan(1000);
});

test.each(['/brief/x', '/briefer/x'])('silence is cut on %s, and breathing is not', async (path) => {
  const responses: ServerResponse[] = [];
  acceptStreams((response) => responses.push(response));
  const [silent, breathing] = [await open(path), await open(path)];
  const breath = setInterval(() => responses[1]?.write(': still here\n\n'), 50);
  onTestFinished(() => clearInterval(breath));
  expect(await silent.ended).toBe('cut');
  const before = breathing.text().length;
  await expect.poll(() => breathing.text().length).toBeGreaterThan(before);

  const [silentSocket, pinging] = [await openWebSocket(at(path)), await openWebSocket(at(path))];
  const pings = setInterval(() => pinging.ping(), 50);
  onTestFinished(() => {
    clearInterval(pings);
    pinging.terminate();
  });
  expect(await closeOf(silentSocket)).toEqual({ code: 1001, reason: 'idle' });
  const pong = once(pinging, 'pong');
  await pong;
});

/** Of milliseconds, with two digits behind the point. */
function spread(lags: readonly number[]): { p50: number; p99: number; most: number } {
  const sorted = [...lags].sort((a, b) => a - b);
  const at = (part: number) =>
    Number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]?.toFixed(2));
  return { p50: at(0.5), p99: at(0.99), most: at(1) };
}
