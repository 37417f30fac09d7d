import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hmacSha256 } from '../../src/sessions/hmac.ts';

const hex = (base64: string) => Buffer.from(base64, 'base64').toString('hex');

describe('HMAC-SHA256', () => {
  // RFC 4231, sections 4.3, 4.7 and 4.8: a short key, and keys that are longer than a block.
  test.each([
    [
      'Jefe',
      'what do ya want for nothing?',
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    ],
    [
      Buffer.alloc(131, 0xaa),
      'Test Using Larger Than Block-Size Key - Hash Key First',
      '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
    ],
    [
      Buffer.alloc(131, 0xaa),
      'This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.',
      '9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2',
    ],
  ])('gives what RFC 4231 lists (%#)', (key, text, expected) => {
    expect(hex(hmacSha256(key, 'base64')(text))).toBe(expected);
  });

  test('is what node:crypto gives, whatever key and texts, in any order', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.integer({ min: 1300, max: 6000 }).map((length) => 'xé€'.repeat(length / 3)),
    );
    const key = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.string({ minLength: 1, maxLength: 100 }));
    fc.assert(
      fc.property(key, fc.array(text, { minLength: 1, maxLength: 6 }), (secret, texts) => {
        const sign = hmacSha256(secret, 'base64url');
        for (const each of texts)
          expect(sign(each)).toBe(createHmac('sha256', secret).update(each).digest('base64url'));
      }),
      { numRuns: 500 },
    );
  });
});
