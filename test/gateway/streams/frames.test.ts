// Frames of every kind, in the manner of the Autobahn test suite: the bytes that leave one side are those that reach
// the other.
import { createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { report } from '../../support/figures.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { scale, UNHURRIED } from '../../support/scale.ts';
import { acceptance, closeOf, handshakeText, openBare, openWebSocket } from '../../support/streams.ts';
import { acceptWebSocket } from '../../support/upstream.ts';

const MIB = 1024 * 1024;
const ROUNDS = scale({ quick: 1, full: 20 });

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({
    stores: 'sqlite',
    logLevel: 'warn',
    config: `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes: [{ path: /**, upstream: hub, access: public }]
`,
  });
});
afterAll(() => gateway?.close());

interface FrameOptions {
  readonly opcode?: number;
  readonly final?: boolean;
  readonly reserved?: number;
  readonly mask?: Buffer | null;
  /** Bytes of the length field, where it is longer than need be. */
  readonly lengthBytes?: 0 | 2 | 8;
}

function frame(
  payload: Buffer,
  { opcode = 2, final = true, reserved = 0, mask = randomBytes(4), lengthBytes }: FrameOptions = {},
): Buffer {
  const size = lengthBytes ?? (payload.length < 126 ? 0 : payload.length < 65_536 ? 2 : 8);
  const length = Buffer.alloc(size);
  if (size === 2) length.writeUInt16BE(payload.length);
  if (size === 8) length.writeBigUInt64BE(BigInt(payload.length));
  const short = size === 0 ? payload.length : size === 2 ? 126 : 127;
  const first = (final ? 0x80 : 0) | (reserved << 4) | opcode;
  const head = Buffer.from([first, (mask ? 0x80 : 0) | short]);
  if (mask === null) return Buffer.concat([head, length, payload]);
  return Buffer.concat([head, length, mask, payload.map((byte, at) => byte ^ (mask[at % 4] ?? 0))]);
}

const text = (words: string) => Buffer.from(words);
const closing = (code: number, reason = '') => {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code);
  payload.write(reason, 2);
  return payload;
};

const LENGTHS = [0, 1, 2, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1_000_003];
const MASKS = ['00000000', 'ffffffff', '00ff00ff', '0a0d0a0d', '81058105'];
const CLOSE_CODES = [
  1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4401, 4999,
];

/** What is sent, and into how small pieces it is cut. */
const CASES: [name: string, frames: Buffer[], pieceBytes?: number][] = [
  ...LENGTHS.map((length): [string, Buffer[]] => [`${length} bytes`, [frame(randomBytes(length))]]),
  ...LENGTHS.filter((length) => length < 65_536).map((length): [string, Buffer[], number] => [
    `${length} bytes, one by one`,
    [frame(randomBytes(Math.min(length, 3000)))],
    1,
  ]),
  ...MASKS.map((mask): [string, Buffer[]] => [
    `the mask ${mask}`,
    [frame(randomBytes(1000), { mask: Buffer.from(mask, 'hex') })],
  ]),
  ...CLOSE_CODES.map((code): [string, Buffer[]] => [
    `close ${code}`,
    [frame(closing(code, 'because'), { opcode: 8 })],
  ]),
  ['a close without a code', [frame(Buffer.alloc(0), { opcode: 8 })]],
  ['a close with one byte', [frame(Buffer.from([3]), { opcode: 8 })]],
  ['a close with the longest reason', [frame(closing(1000, 'x'.repeat(123)), { opcode: 8 })]],
  ...[0, 1, 125].flatMap((length) =>
    [9, 10].map((opcode): [string, Buffer[]] => [
      `${opcode === 9 ? 'ping' : 'pong'} of ${length}`,
      [frame(randomBytes(length), { opcode })],
    ]),
  ),
  ['a hundred pings', Array.from({ length: 100 }, () => frame(randomBytes(10), { opcode: 9 }))],
  [
    'a fragmented text, with a ping within',
    [
      frame(text('Hello-'), { opcode: 1, final: false }),
      frame(text('!'), { opcode: 9 }),
      frame(Buffer.alloc(0), { opcode: 0, final: false }),
      frame(text('µ@ßöäüàá-UTF-8!!'), { opcode: 0 }),
    ],
  ],
  [
    'a text in a thousand fragments',
    Array.from({ length: 1000 }, (_, at) =>
      frame(text('x'), { opcode: at === 0 ? 1 : 0, final: at === 999 }),
    ),
  ],
  ['a message cut within its header', [frame(randomBytes(70_000)), frame(randomBytes(70_000))], 7],
  ['bytes that are no UTF-8', [frame(Buffer.from([0xce, 0xba, 0xed, 0xa0, 0x80]), { opcode: 1 })]],
  [
    'lengths written longer than need be',
    [frame(text('short'), { lengthBytes: 2 }), frame(text('short'), { lengthBytes: 8 })],
  ],
  ['reserved bits', [1, 2, 4, 7].map((reserved) => frame(randomBytes(50), { reserved }))],
  ['unknown opcodes', [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => frame(randomBytes(5), { opcode }))],
  ['no mask', [frame(randomBytes(300), { mask: null })]],
  ['16 MB in one frame', [frame(randomBytes(16 * MIB))]],
  [
    '16 MB in 64 KB fragments',
    Array.from({ length: 256 }, (_, at) =>
      frame(randomBytes(65_536), { opcode: at === 0 ? 2 : 0, final: at === 255 }),
    ),
  ],
];

test('whatever the frames, their bytes are the same on the other side', UNHURRIED, async (context) => {
  const changed: string[] = [];
  let tried = 0;
  for (let round = 0; round < ROUNDS; round++)
    for (const [name, frames, pieceBytes] of CASES)
      for (const direction of ['up', 'down'] as const) {
        tried++;
        const sent = Buffer.concat(frames);
        const { from, to } = await openPair(direction);
        const arriving = collect(to, sent.length);
        await writeInPieces(from, sent, pieceBytes);
        if ((await arriving) !== hashOf(sent)) changed.push(`${name}, ${direction}`);
        from.destroy();
        to.destroy();
      }
  report(context, { tried, changed: changed.length });
  expect(changed).toEqual([]);
});

test.each([1000, 1001, 1011, 3000, 4000, 4999])(
  'close code %i is told to the other side, either way',
  async (code) => {
    const accepted = Promise.withResolvers<Awaited<ReturnType<typeof acceptWebSocket>>>();
    gateway.upstream.upgrade((...handshake) => acceptWebSocket(...handshake).then(accepted.resolve));
    const client = await openWebSocket(`${gateway.url}/x`);
    const upstream = await accepted.promise;
    const told = closeOf(upstream);
    client.close(code, 'words of the client');
    expect(await told).toEqual({ code, reason: 'words of the client' });

    const again = Promise.withResolvers<Awaited<ReturnType<typeof acceptWebSocket>>>();
    gateway.upstream.upgrade((...handshake) => acceptWebSocket(...handshake).then(again.resolve));
    const other = await openWebSocket(`${gateway.url}/x`);
    const toldBack = closeOf(other);
    (await again.promise).close(code, 'words of the upstream');
    expect(await toldBack).toEqual({ code, reason: 'words of the upstream' });
  },
);

test('a side that is cut off without a word cuts off the other', async () => {
  for (const cut of ['client', 'upstream'] as const) {
    const accepted = Promise.withResolvers<Awaited<ReturnType<typeof acceptWebSocket>>>();
    gateway.upstream.upgrade((...handshake) => acceptWebSocket(...handshake).then(accepted.resolve));
    const client = await openWebSocket(`${gateway.url}/x`);
    const upstream = await accepted.promise;
    const closed = closeOf(cut === 'client' ? upstream : client);
    (cut === 'client' ? client : upstream).terminate();
    expect((await closed).code).toBe(1006);
  }
});

async function openPair(direction: 'up' | 'down'): Promise<{ from: Duplex; to: Duplex }> {
  const accepted = Promise.withResolvers<Duplex>();
  gateway.upstream.upgrade((request, socket) => {
    socket.write(acceptance(request));
    (socket as Socket).setNoDelay();
    accepted.resolve(socket);
  });
  const { socket } = await openBare(gateway.url, handshakeText('/x'));
  const upstream = await accepted.promise;
  for (const side of [socket, upstream]) side.on('error', () => {});
  return direction === 'up' ? { from: socket, to: upstream } : { from: upstream, to: socket };
}

/** @returns the hash of what came, once so many bytes are there and no more come with them */
async function collect(from: Duplex, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  let left = bytes;
  for await (const chunk of from.iterator({ destroyOnReturn: false })) {
    hash.update(chunk);
    left -= chunk.length;
    if (left <= 0) break;
  }
  return hash.digest('hex');
}

async function writeInPieces(to: Duplex, bytes: Buffer, pieceBytes = bytes.length): Promise<void> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    to.write(bytes.subarray(at, at + pieceBytes));
    // Or the kernel would join them.
    if (at % (pieceBytes * 50) === 0) await new Promise(setImmediate);
  }
}

function hashOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
