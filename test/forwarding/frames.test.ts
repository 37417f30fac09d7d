import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { acceptOf, closeFrame, FrameCounter } from '../../src/forwarding/frames.ts';
import { report } from '../support/figures.ts';
import { scale } from '../support/scale.ts';

const RUNS = scale({ quick: 300, full: 20_000 });

interface Given {
  readonly length: number;
  readonly masked: boolean;
  readonly lengthBytes: 0 | 2 | 8;
  readonly first: number;
}

function frameOf({ length, masked, lengthBytes, first }: Given): Buffer {
  const size = length > 125 && lengthBytes === 0 ? 2 : lengthBytes;
  const field = Buffer.alloc(size);
  if (size === 2) field.writeUInt16BE(length);
  if (size === 8) field.writeBigUInt64BE(BigInt(length));
  const short = size === 0 ? length : size === 2 ? 126 : 127;
  const head = Buffer.from([first, (masked ? 0x80 : 0) | short]);
  // 0xff all over: whoever reads payload as a header goes astray.
  return Buffer.concat([head, field, Buffer.alloc(masked ? 4 : 0, 0xff), Buffer.alloc(length, 0xff)]);
}

const frames = fc.array(
  fc.record({
    length: fc.oneof(fc.nat(300), fc.constantFrom(0, 125, 126, 127, 65_535)),
    masked: fc.boolean(),
    lengthBytes: fc.constantFrom<0 | 2 | 8>(0, 2, 8),
    first: fc.nat(255),
  }),
  { minLength: 1, maxLength: 8 },
);

describe('FrameCounter', () => {
  test('knows after every chunk whether it is between two frames', (context) => {
    const property = fc.property(frames, fc.array(fc.nat(100_000), { maxLength: 12 }), (given, cuts) => {
      const encoded = given.map(frameOf);
      const bytes = Buffer.concat(encoded);
      const ends = new Set<number>();
      let end = 0;
      for (const each of encoded) {
        end += each.length;
        ends.add(end);
      }
      const counter = new FrameCounter();
      expect(counter.isBetween).toBe(true);
      const places = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
      let from = 0;
      for (const to of places) {
        const wasBetween = from === 0 || ends.has(from);
        const firstEnd = [...ends].find((at) => at > from && at <= to);
        const expected = wasBetween ? 0 : firstEnd === undefined ? -1 : firstEnd - from;
        expect(counter.push(bytes.subarray(from, to))).toBe(expected);
        expect(counter.isBetween).toBe(to === 0 || ends.has(to));
        from = to;
      }
    });
    fc.assert(property, { numRuns: RUNS });
    report(context, { streamsOfFrames: RUNS, wrong: 0 });
  });

  test('counts a frame of more than 4 GB', () => {
    const head = Buffer.alloc(10);
    head.set([0x82, 127]);
    head.writeBigUInt64BE(5n * 2n ** 30n, 2);
    const counter = new FrameCounter();
    expect(counter.push(head)).toBe(0);
    const part = Buffer.alloc(2 ** 20);
    for (let at = 0; at < 5 * 1024; at++) {
      expect(counter.isBetween).toBe(false);
      counter.push(part);
    }
    expect(counter.isBetween).toBe(true);
  });
});

test('a close frame holds code and reason', () => {
  expect(closeFrame(4401, 'gone')).toEqual(Buffer.from('\x88\x06\x11\x31gone', 'latin1'));
  const masked = closeFrame(1001, 'x', true);
  expect([masked[0], masked[1], masked.length]).toEqual([0x88, 0x83, 9]);
  const mask = masked.subarray(2, 6);
  expect(masked.subarray(6).map((byte, at) => byte ^ (mask[at] ?? 0))).toEqual(
    Buffer.from('\x03\xe9x', 'latin1'),
  );
});

test('the answer to a key is that of RFC 6455 section 1.3', () => {
  expect(acceptOf('dGhlIHNhbXBsZSBub25jZQ==')).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
});
