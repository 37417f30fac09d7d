// What Better Auth encrypts opens here as it does there, and what does not open there does not open here.
import { createCipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { symmetricDecodeJWT, symmetricEncodeJWT } from 'better-auth/crypto';
import { describe, expect, test } from 'vitest';
import { jweOpener } from '../../src/sessions/jwe.ts';
import { report } from '../support/figures.ts';

const SECRET = 'first-secret-0123456789abcdefghij';
const USE = 'better-auth-session';
const open = jweOpener([SECRET], USE);

/** As RFC 7518 section 5.2.2.1 has it, with any header. */
function sealed(header: object, claims: unknown): string {
  const key = Buffer.from(hkdfSync('sha256', SECRET, USE, 'BetterAuth.js Generated Encryption Key', 64));
  const head = Buffer.from(JSON.stringify(header)).toString('base64url');
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', key.subarray(32), iv);
  const text = Buffer.concat([cipher.update(JSON.stringify(claims)), cipher.final()]);
  const bits = Buffer.alloc(8);
  bits.writeBigUInt64BE(BigInt(head.length * 8));
  const mac = createHmac('sha512', key.subarray(0, 32)).update(head).update(iv).update(text).update(bits);
  const tag = mac.digest().subarray(0, 32);
  return [head, '', ...[iv, text, tag].map((part) => part.toString('base64url'))].join('.');
}

const PLAIN = { alg: 'dir', enc: 'A256CBC-HS512' };
const seconds = () => Math.floor(Date.now() / 1000);

test('opens what Better Auth has made, whatever is in it', async () => {
  for (const claims of [{ name: 'Ågnes 日本' }, { text: 'x'.repeat(3000) }, { list: [1, null] }, {}])
    expect(open(await symmetricEncodeJWT(claims, SECRET, USE, 60))).toMatchObject(claims);
});

test.each<[string, object, object]>([
  ['without a name of its key', PLAIN, {}],
  ['that ended within the tolerance', PLAIN, { exp: seconds() - 5 }],
  ['that begins within the tolerance', PLAIN, { nbf: seconds() + 5 }],
])('opens one %s, as Better Auth does', async (_what, header, claims) => {
  const value = sealed(header, claims);
  expect(await symmetricDecodeJWT(value, SECRET, USE)).toEqual(claims);
  expect(open(value)).toEqual(claims);
});

describe('does not open, as Better Auth does not,', () => {
  test.each<[string, object, unknown]>([
    ['one of another key', { ...PLAIN, kid: 'another' }, {}],
    ['one under a critical extension', { ...PLAIN, crit: ['b64'], b64: true }, {}],
    ['one of another algorithm', { ...PLAIN, alg: 'A256KW' }, {}],
    ['one of another cipher', { ...PLAIN, enc: 'A128CBC-HS256' }, {}],
    ['one that is over', PLAIN, { exp: seconds() - 60 }],
    ['one that ends at no time', PLAIN, { exp: 'never' }],
    ['one that has not begun', PLAIN, { nbf: seconds() + 60 }],
    ['what is no object', PLAIN, 'text'],
  ])('%s', async (_what, header, claims) => {
    const value = sealed(header, claims);
    expect(await symmetricDecodeJWT(value, SECRET, USE)).toBeNull();
    expect(open(value)).toBeNull();
  });
});

test('one changed character, added or missing, and it stays shut or says the same', (context) => {
  const value = sealed(PLAIN, { name: 'octocat' });
  const letters = 'AQgw-_.=+/ \u0000é';
  const tried = new Set<string>();
  for (let at = 0; at <= value.length; at++)
    for (const letter of letters)
      for (const changed of [
        value.slice(0, at) + letter + value.slice(at + 1),
        value.slice(0, at) + letter + value.slice(at),
        value.slice(0, at) + value.slice(at + 1),
      ]) {
        tried.add(changed);
        const opened = open(changed);
        // The last character of a part has bits that stand for nothing.
        if (opened !== null) expect([changed, opened]).toEqual([changed, { name: 'octocat' }]);
      }
  expect(open(value)).toEqual({ name: 'octocat' });
  tried.delete(value);
  report(context, { tried: tried.size });
});
