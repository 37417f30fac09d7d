// How many streams may be open: of one person, on a route, and in all.
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { Client } from '../../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { openEventStream, shakeHands } from '../../support/streams.ts';
import { addSubject } from '../../support/subject.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({
    stores: 'sqlite',
    logLevel: 'error',
    config: `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes:
  - { path: /public/**, upstream: hub, access: public }
  - { path: /few/**, upstream: hub, access: public, maxStreams: 2 }
  - { path: /api/**, upstream: hub }
streams: { perPerson: 3, total: 6 }
`,
  });
  gateway.upstream.respond((request, response) => {
    if (request.headers.accept !== 'text/event-stream') return void response.end('{}');
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
  });
});
afterAll(() => gateway?.close());

type Close = () => void;

/** Opens by turns a WebSocket and an event stream. @returns what ends it, or status and code of the refusal */
async function openOne(at: number, path: string, client?: Client): Promise<Close | string> {
  if (at % 2 === 0) {
    const handshake = await shakeHands(gateway.url + path, { client });
    if (!handshake.opened) return `${handshake.status} ${handshake.code} ${handshake.headers['retry-after']}`;
    return () => handshake.webSocket.terminate();
  }
  const stream = await openEventStream(gateway.url + path, { client });
  if (stream.response.statusCode === 200) return stream.close;
  await stream.ended;
  const { code } = JSON.parse(stream.text());
  return `${stream.response.statusCode} ${code} ${stream.response.headers['retry-after']}`;
}

async function openMany(
  count: number,
  path: string,
  client?: Client,
): Promise<{ open: Close[]; refused: string[] }> {
  const open: Close[] = [];
  const refused: string[] = [];
  onTestFinished(() => open.forEach((close) => void close()));
  for (let at = 0; at < count; at++) {
    const result = await openOne(at, path, client);
    if (typeof result === 'string') refused.push(result);
    else open.push(result);
  }
  return { open, refused };
}

/** The streams of the test before may still be on their way out. */
const eventually = async (work: () => Promise<{ open: Close[]; refused: string[] }>, opened: number) => {
  let result = await work();
  await expect
    .poll(async () => {
      if (result.open.length === opened) return opened;
      for (const close of result.open) close();
      result = await work();
      return result.open.length;
    })
    .toBe(opened);
  return result;
};

test('one person has so many, whatever their kind, and as many again when some are closed', async () => {
  const { client } = await addSubject(gateway);
  const { open, refused } = await eventually(() => openMany(5, '/api/x', client), 3);
  expect(refused).toEqual(['429 rate-limited 1', '429 rate-limited 1']);
  // Somebody else has their own, and plain requests are not counted.
  const other = await openMany(1, '/api/x', (await addSubject(gateway)).client);
  expect(other.refused).toEqual([]);
  expect((await client.fetch('/api/x')).status).toBe(200);
  open[0]?.();
  await expect.poll(async () => typeof (await openOneFor(client)), { timeout: 5000 }).toBe('function');
});

async function openOneFor(client: Client): Promise<Close | string> {
  const result = await openOne(0, '/api/x', client);
  if (typeof result !== 'string') onTestFinished(() => void result());
  return result;
}

test('a route has so many', async () => {
  const { refused } = await eventually(() => openMany(4, '/few/x'), 2);
  expect(refused).toEqual(['503 overloaded 1', '503 overloaded 1']);
  expect((await openMany(1, '/public/x')).refused).toEqual([]);
});

test('the process has so many, and further handshakes do not reach the upstream', async () => {
  const { refused } = await eventually(() => openMany(7, '/public/x'), 6);
  expect(refused).toEqual(['503 overloaded 1']);
  const before = gateway.upstream.seen.length;
  expect(await openOne(0, '/public/x')).toBe('503 overloaded 1');
  expect(gateway.upstream.seen.length).toBe(before);
});
