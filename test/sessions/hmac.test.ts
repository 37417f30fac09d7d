import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hmac } from '../../src/sessions/hmac.ts';

describe('HMAC', () => {
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
    expect(hmac('sha256', key)(text, 'hex')).toBe(expected);
  });

  test.each(['sha256', 'sha512'] as const)('is what node:crypto gives with %s, in any order', (algorithm) => {
    const message = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.integer({ min: 1300, max: 6000 }).map((length) => 'xé€'.repeat(length / 3)),
      fc.uint8Array({ maxLength: 6000 }),
    );
    const key = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.string({ minLength: 1, maxLength: 200 }));
    fc.assert(
      fc.property(key, fc.array(message, { minLength: 1, maxLength: 6 }), (secret, messages) => {
        const mac = hmac(algorithm, secret);
        for (const each of messages)
          expect(mac(each, 'base64url')).toBe(createHmac(algorithm, secret).update(each).digest('base64url'));
      }),
      { numRuns: 300 },
    );
  });
});
