import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ChunkedBody } from '../../src/forwarding/chunked-body.ts';
import { scale } from '../support/scale.ts';

/** Reads the pieces one after the other. @returns the body, and what stood behind its end */
function readAll(pieces: readonly Buffer[]): { body: string; behind: string; isOver: boolean } {
  const chunks = new ChunkedBody();
  const body: Buffer[] = [];
  let behind = '';
  for (const piece of pieces) {
    let unread = piece;
    while (unread.length > 0 && !chunks.isOver) {
      const { read, data } = chunks.read(unread);
      if (data !== null) body.push(Buffer.from(data));
      unread = unread.subarray(read);
    }
    behind += unread.toString('latin1');
  }
  return { body: Buffer.concat(body).toString('latin1'), behind, isOver: chunks.isOver };
}

const inOnePiece = (text: string) => readAll([Buffer.from(text, 'latin1')]);

test.each([
  ['3\r\nabc\r\n0\r\n\r\n', 'abc', ''],
  ['3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nHTTP/1.1', 'abcde', 'HTTP/1.1'],
  ['0\r\n\r\n', '', ''],
  ['0003\r\na\r\n\r\n00\r\n\r\n', 'a\r\n', ''],
  ['A;name="value";x\r\n0123456789\r\n0;last\r\n\r\n', '0123456789', ''],
  ['1 \r\na\r\n0\r\nTrailer: 1\r\nAnother: 2\r\n\r\nX', 'a', 'X'],
])('%j', (text, body, behind) => {
  expect(inOnePiece(text)).toEqual({ body, behind, isOver: true });
});

test.each([
  'g\r\n',
  '\r\n',
  '-1\r\n',
  '0x3\r\nabc\r\n',
  '3\nabc\r\n',
  '3\r\nabcd\r\n0\r\n\r\n',
  '3\r\nabc\n0\r\n\r\n',
  ' 3\r\nabc\r\n',
  '3 x\r\nabc\r\n',
  '3;\0\r\nabc\r\n',
  '10000000000000\u0030\r\n',
  `1;${'x'.repeat(20_000)}\r\n`,
  `0\r\n${'X: 1234567890\r\n'.repeat(10_000)}\r\n`,
])('no chunks: %j', (text) => {
  expect(() => inOnePiece(text)).toThrow();
});

test('whatever the pieces they come in, the body is the same', () => {
  const bytes = fc.uint8Array({ maxLength: 40 });
  fc.assert(
    fc.property(fc.array(bytes.filter(({ length }) => length > 0)), fc.array(fc.nat(400)), (parts, cuts) => {
      const chunked = parts.map((part) =>
        Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')]),
      );
      const all = Buffer.concat([...chunked, Buffer.from('0\r\nT: 1\r\n\r\nbehind')]);
      const at = [0, ...cuts.filter((cut) => cut < all.length).sort((a, b) => a - b), all.length];
      const pieces = at.slice(1).map((end, piece) => all.subarray(at[piece], end));
      const body = Buffer.concat(parts).toString('latin1');
      expect(readAll(pieces)).toEqual({ body, behind: 'behind', isOver: true });
    }),
    { numRuns: scale({ quick: 500, full: 50_000 }) },
  );
});
