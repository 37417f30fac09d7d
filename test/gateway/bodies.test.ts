// Bodies of every size and type, both ways: what arrives is what was sent, byte for byte.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { manyAtOnce } from '../support/many.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { sendRaw } from '../support/send.ts';

const MIB = 1024 * 1024;
const CHUNK = randomBytes(MIB);
const TYPES = [
  undefined,
  'text/plain; charset=latin1',
  'application/json',
  'multipart/form-data; boundary=x',
  'application/octet-stream',
];
const FRAMINGS = ['with a length', 'in chunks'] as const;
const DIRECTIONS = ['up', 'down'] as const;

interface Body {
  readonly size: number;
  readonly type: string | undefined;
  readonly framing: (typeof FRAMINGS)[number];
  readonly direction: (typeof DIRECTIONS)[number];
}

const SMALL = [0, 1, 2, 1023, 16_384, 65_535, 65_536, 65_537, 200_000];
const LARGE = scale({ quick: [1_000_003], full: [1_000_003, 16 * MIB, 64 * MIB + 1] });
/** Of these each framing and direction is tried with one type. */
const HUGE = scale({ quick: [8 * MIB], full: [256 * MIB, 1024 * MIB] });

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({
    stores: 'sqlite',
    logLevel: 'error',
    config: `
upstreams: { plain: { targets: ["\${UPSTREAM}"] } }
routes: [{ path: /**, upstream: plain, access: public }]
`,
  });
});
afterAll(() => gateway?.close());

beforeEach(() => {
  gateway.upstream.respond((request, response) => {
    const { direction, ...body } = JSON.parse(String(request.headers['x-body'])) as Body;
    if (direction === 'down') return void answerWith(response, body);
    hashOf(request).then((arrived) =>
      response.end(JSON.stringify({ ...arrived, type: request.headers['content-type'] ?? null })),
    );
  });
});

function* bytesOf(size: number) {
  for (let left = size, turn = 0; left > 0; turn = (turn + 4099) % MIB) {
    const part = CHUNK.subarray(turn, turn + Math.min(left, MIB - turn));
    left -= part.length;
    yield part;
  }
}

async function hashOf(from: AsyncIterable<Buffer> | Iterable<Buffer>) {
  const hash = createHash('sha256');
  let length = 0;
  for await (const part of from) {
    hash.update(part);
    length += part.length;
  }
  return { hash: hash.digest('hex'), length };
}

function headersOf({ size, type, framing }: Omit<Body, 'direction'>): Record<string, string> {
  return {
    ...(type === undefined ? {} : { 'content-type': type }),
    ...(framing === 'in chunks' ? { 'transfer-encoding': 'chunked' } : { 'content-length': String(size) }),
  };
}

async function answerWith(response: ServerResponse, body: Omit<Body, 'direction'>): Promise<void> {
  response.writeHead(200, headersOf(body));
  await pipeline(Readable.from(bytesOf(body.size), { objectMode: false }), response).catch(() => {});
}

/** @returns what is different at the other end; null when nothing is */
async function difference(body: Body, expected: { hash: string; length: number }): Promise<string | null> {
  const isUp = body.direction === 'up';
  const request = httpRequest(`${gateway.url}/body`, {
    method: isUp ? 'POST' : 'GET',
    headers: { ...(isUp ? headersOf(body) : {}), 'x-body': JSON.stringify(body) },
    agent: false,
  });
  const answering = once(request, 'response') as Promise<[IncomingMessage]>;
  if (isUp) pipeline(Readable.from(bytesOf(body.size), { objectMode: false }), request).catch(() => {});
  else request.end();
  const [response] = await answering;
  const arrived = isUp
    ? JSON.parse(Buffer.concat(await response.toArray()).toString())
    : { ...(await hashOf(response)), type: response.headers['content-type'] ?? null };
  const wanted = { ...expected, type: body.type ?? null };
  return JSON.stringify(arrived) === JSON.stringify(wanted)
    ? null
    : `${JSON.stringify(body)}: ${JSON.stringify(arrived)}`;
}

test('a body arrives as it was sent, whatever its size, type and framing', UNHURRIED, async (context) => {
  const kinds = FRAMINGS.flatMap((framing) => DIRECTIONS.map((direction) => ({ framing, direction })));
  const bodies = [
    ...[...SMALL, ...LARGE].flatMap((size) =>
      TYPES.flatMap((type) => kinds.map((kind) => ({ size, type, ...kind }))),
    ),
    ...HUGE.flatMap((size) => kinds.map((kind, at) => ({ size, type: TYPES[at + 1], ...kind }))),
  ];
  const sizes = new Set(bodies.map(({ size }) => size));
  const expected = new Map<number, { hash: string; length: number }>();
  for (const size of sizes) expected.set(size, await hashOf(bytesOf(size)));
  const changed: string[] = [];
  await manyAtOnce(bodies, 4, async (body) => {
    const found = await difference(body, expected.get(body.size) ?? { hash: '', length: 0 });
    if (found !== null) changed.push(found);
  });
  report(context, {
    'bodies compared by SHA-256: compared': bodies.length,
    'bodies compared by SHA-256: changed': changed.length,
    largestMiB: Math.max(...sizes) / MIB,
    sentMiB: Math.round(bodies.reduce((sum, { size }) => sum + size, 0) / MIB),
  });
  expect(changed).toEqual([]);
});

test('what would be far larger unpacked is not unpacked, either way', UNHURRIED, async (context) => {
  const packed = gzipSync(Buffer.alloc(scale({ quick: 16, full: 1024 }) * MIB));
  const headers = { 'content-encoding': 'gzip', 'x-body': '{}' };
  let arrived = Buffer.alloc(0);
  const before = process.memoryUsage().rss;
  gateway.upstream.respond(async (request, response) => {
    arrived = Buffer.concat(await request.toArray());
    response.writeHead(200, { 'content-encoding': String(request.headers['content-encoding']) }).end(arrived);
  });
  const answer = await sendRaw(`${gateway.url}/packed`, { method: 'POST', headers, body: packed });
  report(context, {
    'bodies compared by SHA-256: compared': 2,
    'bodies compared by SHA-256: changed': [arrived, answer.body].filter((body) => !body.equals(packed))
      .length,
    packedBytes: packed.length,
    grownMiB: Math.round((process.memoryUsage().rss - before) / MIB),
  });
  expect([arrived.equals(packed), answer.body.equals(packed)]).toEqual([true, true]);
  expect(answer.headers[answer.headers.findIndex((name) => /^content-encoding$/i.test(name)) + 1]).toBe(
    'gzip',
  );
});
