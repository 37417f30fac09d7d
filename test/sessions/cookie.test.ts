import { makeSignature } from 'better-auth/crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Credential, credentialReader, sign, verify } from '../../src/sessions/cookie.ts';

const NAME = 'better-auth.session_token';
const SECRET = 'first-secret-0123456789abcdefghij';
const OLDER = 'older-secret-0123456789abcdefghij';
const OTHER = 'other-secret-0123456789abcdefghij';
const TOKEN = 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF';
const SIGNED = sign(TOKEN, SECRET);

const read = credentialReader(NAME, [SECRET, OLDER]);
const found: Credential = { kind: 'token', token: TOKEN };
const absent: Credential = { kind: 'absent' };
const invalid: Credential = { kind: 'invalid' };

/** The form Better Auth documents and writes, made by its own function. */
async function signedByBetterAuth(text: string, secret: string): Promise<string> {
  return encodeURIComponent(`${text}.${await makeSignature(text, secret)}`);
}

describe('Better Auth', () => {
  test('signs as we do', async () => {
    for (const text of [TOKEN, 'a', 'a.b.c', 'naïve 🐙', '%'])
      expect(sign(text, SECRET)).toBe(await signedByBetterAuth(text, SECRET));
  });

  test('has its cookies read here', async () => {
    expect(read(`${NAME}=${await signedByBetterAuth(TOKEN, SECRET)}`)).toEqual(found);
  });

  test('has its cookies read unescaped, too', async () => {
    expect(read(`${NAME}=${decodeURIComponent(await signedByBetterAuth(TOKEN, SECRET))}`)).toEqual(found);
  });
});

describe('reads', () => {
  test.each([
    ['alone', `${NAME}=${SIGNED}`],
    ['among others', `a=1; ${NAME}=${SIGNED}; b=2`],
    ['without blanks', `a=1;${NAME}=${SIGNED};b=2`],
    ['with more blanks', `a=1 ;\t${NAME} = ${SIGNED} ; b`],
    ['beside names that contain ours', `x${NAME}=1; ${NAME}=${SIGNED}; ${NAME}.0=2; ${NAME}_x=3`],
    ['twice with one value', `${NAME}=${SIGNED}; ${NAME}=${SIGNED}`],
    ['signed with an older secret', `${NAME}=${sign(TOKEN, OLDER)}`],
  ])('the token %s', (_where, header) => {
    expect(read(header)).toEqual(found);
  });
});

describe('there is no credential in', () => {
  test.each([
    undefined,
    '',
    ';',
    'a=1',
    `${NAME.toUpperCase()}=${SIGNED}`,
    `Better-Auth.Session_Token=${SIGNED}`,
    `__Secure-${NAME}=${SIGNED}`,
    `__Host-${NAME}=${SIGNED}`,
    `${NAME}.0=${SIGNED}`,
    `x=${NAME}=${SIGNED}`,
    `${NAME}`,
    `"${NAME}"=${SIGNED}`,
    'better-auth.session_data=x',
    '__proto__=x; constructor=y',
  ])('%j', (header) => {
    expect(read(header)).toEqual(absent);
  });
});

describe('refuses', () => {
  const [text = '', signature = ''] = decodeURIComponent(SIGNED).split('.');

  test.each([
    ['no value', ''],
    ['no signature', text],
    ['an empty signature', `${text}.`],
    ['a signature alone', `.${signature}`],
    ['another secret', sign(TOKEN, OTHER)],
    ['no secret', sign(TOKEN, '')],
    ['another token', `${TOKEN.replace('a', 'b')}.${signature}`],
    ['a token cut short', `${TOKEN.slice(1)}.${signature}`],
    ['a token made longer', `${TOKEN}a.${signature}`],
    ['a signature cut short', `${text}.${signature.slice(0, -1)}`],
    ['a signature made longer', `${text}.${signature}=`],
    ['a signature twice', `${text}.${signature}.${signature}`],
    ['a signature in hexadecimal', `${text}.${Buffer.from(signature, 'base64').toString('hex')}`],
    ['a signature of zeros', `${text}.${'A'.repeat(43)}=`],
    ['quotation marks', `"${SIGNED}"`],
    ['two layers of escapes', encodeURIComponent(SIGNED)],
    ['escapes that are none', `${SIGNED}%`],
    ['a NUL', `${text}%00.${signature}`],
    ['alg none', 'eyJhbGciOiJub25lIn0.eyJ1c2VySWQiOiIxIn0.'],
    ['10 KB', `${'a'.repeat(10_240)}.${signature}`],
    ['10 KB that we signed', sign('a'.repeat(10_240), SECRET)],
    ['an object’s own names', '__proto__'],
  ])('%s', (_what, value) => {
    expect(read(`${NAME}=${value}`)).toEqual(invalid);
  });

  test.each([
    'verification:abcdefghijklmnop',
    '../../../../etc/passwd',
    'gateway:session:abcdefgh',
    'unicode-\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9',
    '🐙🐙🐙🐙🐙🐙🐙🐙',
    'short',
    'with blanks with blanks',
    "' or 1=1 -- 0123456789",
    'a\r\nb0123456789abcdef',
    'a.b.c.d.e.f.g.h.i.j.k',
    'x'.repeat(300),
  ])('a token of another form, though we signed it: %j', (token) => {
    expect(read(`${NAME}=${sign(token, SECRET)}`)).toEqual(invalid);
  });

  test('every change of one character', () => {
    const plain = decodeURIComponent(SIGNED);
    const accepted: string[] = [];
    for (let at = 0; at < plain.length; at++)
      for (const character of [
        'A',
        'B',
        'C',
        'D',
        'b',
        'c',
        '0',
        '8',
        '+',
        '/',
        '_',
        '=',
        '.',
        '%',
        '\u00e9',
      ]) {
        const changed = plain.slice(0, at) + character + plain.slice(at + 1);
        if (changed !== plain && read(`${NAME}=${changed}`).kind !== 'invalid') accepted.push(changed);
      }
    expect(accepted).toEqual([]);
  });

  // 32 bytes are 43 characters of base64 and two bits: four last characters stand for the same bytes.
  test('every other spelling of the signature’s last bits', () => {
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
    const plain = decodeURIComponent(SIGNED);
    const accepted = [...digits].filter(
      (digit) => read(`${NAME}=${plain.slice(0, -2)}${digit}=`).kind === 'token',
    );
    expect(accepted).toEqual([plain.at(-2)]);
  });

  test('any text that we did not sign', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (value) => {
        expect(read(`${NAME}=${value.replace(/[;\s]/g, '')}`)).toEqual(invalid);
        expect(verify(value, [SECRET])).toBeNull();
      }),
    );
  });
});

describe('two session cookies of different value', () => {
  const mine = `${NAME}=${SIGNED}`;
  const another = `${NAME}=${sign('zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz', SECRET)}`;

  test.each([
    ['two people’s', mine, another],
    ['one forged', mine, `${NAME}=forged`],
    ['one empty', mine, `${NAME}=`],
    ['one of another secret', mine, `${NAME}=${sign(TOKEN, OTHER)}`],
  ])('count for nobody: %s', (_what, one, other) => {
    expect(read(`${one}; ${other}`)).toEqual(invalid);
    expect(read(`${other}; ${one}`)).toEqual(invalid);
    expect(read(`${one}; a=1; ${other}; ${one}`)).toEqual(invalid);
  });
});

describe('secrets', () => {
  test('verify each by itself, wherever they stand in the list', () => {
    for (const secret of [SECRET, OLDER]) expect(verify(sign(TOKEN, secret), [OLDER, SECRET])).toBe(TOKEN);
    expect(verify(sign(TOKEN, OTHER), [OLDER, SECRET])).toBeNull();
  });

  test('that were taken off the list verify nothing', () => {
    expect(credentialReader(NAME, [SECRET])(`${NAME}=${sign(TOKEN, OLDER)}`)).toEqual(invalid);
    expect(credentialReader(NAME, [])(`${NAME}=${SIGNED}`)).toEqual(invalid);
  });
});

test('over https only the cookie with the prefix counts', () => {
  const readSecure = credentialReader(`__Secure-${NAME}`, [SECRET]);
  expect(readSecure(`__Secure-${NAME}=${SIGNED}`)).toEqual(found);
  expect(readSecure(`${NAME}=${SIGNED}`)).toEqual(absent);
  const tossed = `${NAME}=${sign('zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz', SECRET)}; __Secure-${NAME}=${SIGNED}`;
  expect(readSecure(tossed)).toEqual(found);
});
