import { randomBytes } from 'node:crypto';
import { symmetricDecrypt, symmetricEncrypt } from 'better-auth/crypto';
import { describe, expect, test } from 'vitest';
import type { TokenKey, VersionedSecret } from '../../src/auth/keys.ts';
import {
  createTokenCipher,
  type TokenCipherOptions,
  UndecryptableToken,
} from '../../src/auth/token-cipher.ts';

const FIRST: VersionedSecret = { version: 1, value: 'first-secret-0123456789abcdefghij' };
const SECOND: VersionedSecret = { version: 2, value: 'second-secret-0123456789abcdefghi' };
const PLAIN: VersionedSecret = { ...FIRST, version: 0 };
const KEY_A: TokenKey = { id: 'a', key: randomBytes(32) };
const KEY_B: TokenKey = { id: 'b', key: randomBytes(32) };
const TOKEN = 'gho_16C7e42F292c6912E7710c838347Ae178B4a';

function cipherOf(options: Partial<TokenCipherOptions> = {}) {
  return createTokenCipher({ tokenKeys: [], secrets: [FIRST], format: 'aes-256-gcm', ...options });
}

describe('AES-256-GCM', () => {
  const cipher = cipherOf({ tokenKeys: [KEY_A] });

  test.each([TOKEN, `github_pat_${'x'.repeat(82)}`, 'x', 'naïve 🐙', 'y'.repeat(4096)])(
    'gives back what it was given: %s',
    async (token) => {
      expect(await cipher.decrypt(await cipher.encrypt(token))).toBe(token);
    },
  );

  test('is kept as version, key, iv, tag and data', async () => {
    const parts = (await cipher.encrypt(TOKEN)).split('.');
    expect(parts.slice(0, 2)).toEqual(['v1', 'a']);
    const bytes = parts.slice(2).map((part) => {
      expect(part).toMatch(/^[A-Za-z0-9_-]+$/);
      return Buffer.from(part, 'base64url').length;
    });
    expect(bytes).toEqual([12, 16, TOKEN.length]);
  });

  test('takes a fresh iv each time', async () => {
    const stored = await Promise.all(Array.from({ length: 200 }, () => cipher.encrypt(TOKEN)));
    expect(new Set(stored.map((each) => each.split('.')[2])).size).toBe(200);
    expect(new Set(stored.map((each) => each.split('.')[4])).size).toBe(200);
  });

  test('refuses a value of which any byte was changed', async () => {
    const parts = (await cipher.encrypt(TOKEN)).split('.');
    for (const part of [2, 3, 4]) {
      const bytes = Buffer.from(parts[part] ?? '', 'base64url');
      for (let at = 0; at < bytes.length; at++)
        for (const mask of [0x01, 0x80, 0xff]) {
          const changed = Buffer.from(bytes);
          changed[at] = (changed[at] ?? 0) ^ mask;
          const stored = parts.with(part, changed.toString('base64url')).join('.');
          await expect(cipher.decrypt(stored), `part ${part}, byte ${at}`).rejects.toThrow(
            UndecryptableToken,
          );
        }
    }
  });

  test.each<[string, (parts: string[]) => string[]]>([
    ['an iv cut short', (parts) => parts.with(2, parts[2]?.slice(0, -4) ?? '')],
    ['a tag cut short', (parts) => parts.with(3, parts[3]?.slice(0, 6) ?? '')],
    ['a tag of four bytes', (parts) => parts.with(3, parts[3]?.slice(0, 6).padEnd(22, 'A') ?? '')],
    ['no tag', (parts) => parts.with(3, '')],
    ['no data', (parts) => parts.with(4, '')],
    ['data cut short', (parts) => parts.with(4, parts[4]?.slice(0, -4) ?? '')],
    ['data made longer', (parts) => parts.with(4, `${parts[4]}AAAA`)],
    ['parts in another order', ([version = '', key = '', ...rest]) => [version, key, ...rest.reverse()]],
    ['another version', (parts) => parts.with(0, 'v2')],
    ['a part more', (parts) => [...parts, 'AAAA']],
    ['a line break behind it', (parts) => parts.with(4, `${parts[4]}\n`)],
  ])('refuses %s', async (_what, change) => {
    const stored = change((await cipher.encrypt(TOKEN)).split('.')).join('.');
    await expect(cipher.decrypt(stored)).rejects.toThrow(UndecryptableToken);
  });

  test('refuses a value under the name of another key, even of the same bytes', async () => {
    const both = cipherOf({ tokenKeys: [KEY_A, { id: 'b', key: KEY_A.key }] });
    const stored = await both.encrypt(TOKEN);
    await expect(both.decrypt(stored.replace('v1.a.', 'v1.b.'))).rejects.toThrow(UndecryptableToken);
  });
});

test.each([
  '',
  TOKEN,
  `github_pat_${'x'.repeat(82)}`,
  'v1.',
  'v1.a.b.c.d',
  'a'.repeat(40),
  'a'.repeat(80),
  `$ba$1$${'0'.repeat(100)}`,
  '$ba$1$',
  'null',
])('plaintext is refused, and what else nobody encrypted: %j', async (stored) => {
  for (const format of ['aes-256-gcm', 'better-auth'] as const)
    await expect(cipherOf({ format }).decrypt(stored)).rejects.toThrow(UndecryptableToken);
});

describe('a list of keys', () => {
  test('encrypts with the first and decrypts with all', async () => {
    const ofA = await cipherOf({ tokenKeys: [KEY_A] }).encrypt(TOKEN);
    const rotated = cipherOf({ tokenKeys: [KEY_B, KEY_A] });
    expect(await rotated.encrypt(TOKEN)).toMatch(/^v1\.b\./);
    expect(await rotated.decrypt(ofA)).toBe(TOKEN);
  });

  test('knows no key that was taken off it', async () => {
    const ofA = await cipherOf({ tokenKeys: [KEY_A] }).encrypt(TOKEN);
    await expect(cipherOf({ tokenKeys: [KEY_B] }).decrypt(ofA)).rejects.toThrow(UndecryptableToken);
  });

  test('tells a key of the same name from the one that encrypted', async () => {
    const ofA = await cipherOf({ tokenKeys: [KEY_A] }).encrypt(TOKEN);
    const cipher = cipherOf({ tokenKeys: [{ id: 'a', key: KEY_B.key }] });
    await expect(cipher.decrypt(ofA)).rejects.toThrow(UndecryptableToken);
  });

  test('opens what was encrypted before there was one', async () => {
    const derived = await cipherOf().encrypt(TOKEN);
    expect(await cipherOf({ tokenKeys: [KEY_A] }).decrypt(derived)).toBe(TOKEN);
  });
});

describe('keys derived from secrets', () => {
  test('outlive a change of secrets while the old one is kept', async () => {
    const stored = await cipherOf({ secrets: [FIRST] }).encrypt(TOKEN);
    expect(await cipherOf({ secrets: [SECOND, FIRST] }).decrypt(stored)).toBe(TOKEN);
    expect(await cipherOf({ secrets: [FIRST, SECOND] }).decrypt(stored)).toBe(TOKEN);
    await expect(cipherOf({ secrets: [SECOND] }).decrypt(stored)).rejects.toThrow(UndecryptableToken);
  });

  test('do not depend on the version a secret is listed under', async () => {
    const stored = await cipherOf({ secrets: [PLAIN] }).encrypt(TOKEN);
    expect(await cipherOf({ secrets: [SECOND, FIRST] }).decrypt(stored)).toBe(TOKEN);
  });

  test('do not show the secret', async () => {
    expect(await cipherOf().encrypt(TOKEN)).not.toContain(FIRST.value.slice(0, 8));
  });

  test('are needed: without key and secret there is no cipher', () => {
    expect(() => cipherOf({ secrets: [] })).toThrow(/key/i);
  });
});

describe('Better Auth’s own format', () => {
  test('with one secret is read by Better Auth, and its values by us', async () => {
    const cipher = cipherOf({ secrets: [PLAIN], format: 'better-auth' });
    const ours = await cipher.encrypt(TOKEN);
    expect(ours).toMatch(/^[0-9a-f]+$/);
    expect(await symmetricDecrypt({ key: PLAIN.value, data: ours })).toBe(TOKEN);
    const theirs = await symmetricEncrypt({ key: PLAIN.value, data: TOKEN });
    expect(await cipher.decrypt(theirs)).toBe(TOKEN);
  });

  test('with several secrets names the one it took, both ways', async () => {
    const keys = new Map([FIRST, SECOND].map(({ version, value }) => [version, value]));
    const cipher = cipherOf({ secrets: [SECOND, FIRST], format: 'better-auth' });
    const ours = await cipher.encrypt(TOKEN);
    expect(ours).toMatch(/^\$ba\$2\$[0-9a-f]+$/);
    expect(await symmetricDecrypt({ key: { keys, currentVersion: 2 }, data: ours })).toBe(TOKEN);
    for (const currentVersion of [1, 2]) {
      const theirs = await symmetricEncrypt({ key: { keys, currentVersion }, data: TOKEN });
      expect(await cipher.decrypt(theirs)).toBe(TOKEN);
    }
  });

  test('without a version may be of any secret: the application had only one', async () => {
    const theirs = await symmetricEncrypt({ key: FIRST.value, data: TOKEN });
    expect(await cipherOf({ secrets: [SECOND, FIRST] }).decrypt(theirs)).toBe(TOKEN);
    await expect(cipherOf({ secrets: [SECOND] }).decrypt(theirs)).rejects.toThrow(UndecryptableToken);
  });

  test('of a version that is not listed is refused', async () => {
    const keys = new Map([[3, FIRST.value]]);
    const theirs = await symmetricEncrypt({ key: { keys, currentVersion: 3 }, data: TOKEN });
    await expect(cipherOf({ secrets: [SECOND, FIRST] }).decrypt(theirs)).rejects.toThrow(UndecryptableToken);
  });

  test('is refused when a byte was changed', async () => {
    const theirs = await symmetricEncrypt({ key: FIRST.value, data: TOKEN });
    for (let at = 0; at < theirs.length; at += 7) {
      const changed = theirs.slice(0, at) + (theirs[at] === '0' ? '1' : '0') + theirs.slice(at + 1);
      await expect(cipherOf().decrypt(changed)).rejects.toThrow(UndecryptableToken);
    }
  });

  test('and ours are both read, whichever is written', async () => {
    const values = await Promise.all(
      (['aes-256-gcm', 'better-auth'] as const).map((format) => cipherOf({ format }).encrypt(TOKEN)),
    );
    for (const format of ['aes-256-gcm', 'better-auth'] as const)
      for (const stored of values) expect(await cipherOf({ format }).decrypt(stored)).toBe(TOKEN);
  });
});

test('the text of an error never holds the value, the token or a secret', async () => {
  const stored = await cipherOf({ tokenKeys: [KEY_A] }).encrypt(TOKEN);
  const theirs = await symmetricEncrypt({ key: SECOND.value, data: TOKEN });
  const cipher = cipherOf({ tokenKeys: [KEY_B] });
  for (const value of [stored, stored.replace('v1.a', 'v1.b'), theirs, TOKEN, `$ba$1$${theirs}`]) {
    const error = (await cipher.decrypt(value).catch((caught: unknown) => caught)) as UndecryptableToken;
    expect(error).toBeInstanceOf(UndecryptableToken);
    const text = `${error.message} ${error.stack} ${String(error.cause)}`;
    for (const secret of [value, ...value.split('.').filter((part) => part.length > 8), TOKEN, FIRST.value])
      expect(text).not.toContain(secret);
  }
});
