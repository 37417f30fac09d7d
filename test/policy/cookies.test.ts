import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type OwnCookie,
  ownCookieName,
  pairsOf,
  setCookieName,
  valuesOf,
  withoutOwnCookies,
} from '../../src/policy/cookies.ts';
import { scale } from '../support/scale.ts';

const OWN: readonly OwnCookie[] = [
  'session_token',
  'session_data',
  'account_data',
  'dont_remember',
  'admin_session',
  'state',
  'oauth_state',
];

/** Every spelling of our names that some server behind us may take for ours. */
const SPELLINGS = OWN.flatMap((own) =>
  ['', '__Secure-', '__Host-'].flatMap((prefix) =>
    ['', '.0', '.1', '.17'].flatMap((chunk) => {
      const name = `${prefix}better-auth.${own}${chunk}`;
      return [name, name.toUpperCase(), name.toLowerCase()].map((spelling) => [spelling, own] as const);
    }),
  ),
);

const OTHERS = [
  'better-auth.theme',
  'better-auth.session_tokens',
  'xbetter-auth.session_token',
  'better-auth.session_token.x',
  'better-auth.session_token_multi-1',
  'better-auth_session_token',
  'better-auth.',
  'session_token',
  'state',
  '__Secure-better-auth',
  'other-auth.session_token',
  '__proto__',
  'constructor',
  '',
];

test.each(SPELLINGS)('%s is ours', (name, own) => {
  expect(ownCookieName(name)).toBe(own);
});

test.each(OTHERS)('%j is not ours', (name) => {
  expect(ownCookieName(name)).toBeNull();
});

describe('a Cookie header', () => {
  test.each(SPELLINGS.map(([name]) => name))('loses %s wherever it stands', (name) => {
    const own = `${name}=secret.%2Bsignature%3D`;
    expect(withoutOwnCookies(own)).toBeUndefined();
    expect(withoutOwnCookies(`${own}; a=1; b=2`)).toBe('a=1; b=2');
    expect(withoutOwnCookies(`a=1; ${own}; b=2`)).toBe('a=1; b=2');
    expect(withoutOwnCookies(`a=1; b=2; ${own}`)).toBe('a=1; b=2');
    expect(withoutOwnCookies(`a=1;${own};${own};b=2`)).toBe('a=1; b=2');
  });

  test.each([
    'better-auth.session_token =x',
    ' better-auth.session_token=x',
    '\tbetter-auth.session_token\t=x',
    'better-auth.session_token=',
    'better-auth.session_token=a=b',
    'better-auth.session_token="x"',
    '\u00a0better-auth.session_token=x',
  ])('loses %j, too', (own) => {
    expect(withoutOwnCookies(`a=1; ${own}; b=2`)).toBe('a=1; b=2');
  });

  test.each([
    'a=1',
    'a=1;b=2 ;  c = 3',
    'a="x; y=z"',
    'a=%zz%; b==; =c; d; ;;',
    '__proto__=1; constructor=2; hasOwnProperty=3',
    'name=voil\u00c3\u00a0',
    '',
  ])('without ours stays as it is: %j', (header) => {
    expect(withoutOwnCookies(header)).toBe(header);
  });

  test.each([
    'theme=dark',
    'quoted="a b"',
    'escaped=%zz%25+',
    'equals=a=b==',
    'empty=',
    'flag',
    '=nameless',
    'better-auth.theme=x',
    '__proto__=1',
    'latin=caf\u00c3\u00a9',
    // UTF-8 à as node:http reads it: its second byte is a no-break space.
    'name=voil\u00c3\u00a0',
    '\u00a0name=x',
    'ideographic=\u00e3\u0080\u0080',
  ])('beside ours keeps %j byte for byte', (other) => {
    expect(withoutOwnCookies(`${other}; better-auth.session_token=x`)).toBe(other);
    expect(withoutOwnCookies(`better-auth.state=x; ${other}`)).toBe(other);
  });

  test('keeps the others in order, doubles included', () => {
    const header = 'b=1; better-auth.session_token=x; a=2; b=3; better-auth.session_data.0=y; a=2; c=4';
    expect(withoutOwnCookies(header)).toBe('b=1; a=2; b=3; a=2; c=4');
  });

  test('keeps those of ours that may go up, chunks included', () => {
    const header =
      'a=1; better-auth.session_token=t; __Secure-better-auth.session_data.0=d; better-auth.account_data=x';
    const kept = withoutOwnCookies(header, new Set<OwnCookie>(['session_token', 'session_data']));
    expect(kept).toBe('a=1; better-auth.session_token=t; __Secure-better-auth.session_data.0=d');
  });

  test('never lets one of ours through, and changes none of the others', () => {
    const other = fc.tuple(fc.constantFrom('a', 'b', 'better-auth.x', '__proto__'), latin1()).map(pair);
    const ours = fc.tuple(fc.constantFrom(...SPELLINGS.map(([name]) => name)), latin1()).map(pair);
    const cookies = fc.array(fc.oneof(other, ours), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(cookies, fc.constantFrom('; ', ';', ' ; '), (pairs, separator) => {
        const kept = withoutOwnCookies(pairs.join(separator)) ?? '';
        const expected = pairs.filter((text) => ownCookieName(text.slice(0, text.indexOf('='))) === null);
        expect(kept.split(/ *; */).filter(Boolean)).toEqual(expected);
      }),
      { numRuns: scale({ quick: 1_000, full: 100_000 }) },
    );
  });

  test('tells of a cookie whatever its pairs tell, wherever else its name stands', () => {
    const name = 'better-auth.session_token';
    const texts = [name, `__Secure-${name}`, `x${name}`, 'a', '=', ' ', '\t', ';', '; ', '1', 'B'];
    const headers = fc.array(fc.constantFrom(...texts), { maxLength: 12 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(headers, (header) => {
        const values = pairsOf(header).flatMap((each) => (each.name === name ? [each.value] : []));
        expect(valuesOf(header, name)).toEqual([...new Set(values)]);
      }),
      { numRuns: scale({ quick: 5_000, full: 200_000 }) },
    );
  });

  test('of 32 KB of blanks is read in one pass', () => {
    const blanks = ' '.repeat(32 * 1024);
    expect(pairsOf(`a=1${blanks}b`)).toEqual([{ name: 'a', value: `1${blanks}b`, text: `a=1${blanks}b` }]);
  });
});

/** What a cookie value may hold on the wire, bytes beyond ASCII included; no separators or outer blanks. */
function latin1(): fc.Arbitrary<string> {
  return fc
    .array(fc.integer({ min: 0x21, max: 0xff }), { maxLength: 8 })
    .map((codes) => String.fromCharCode(...codes.filter((code) => code !== 0x3b && code !== 0x7f)));
}

function pair([name, value]: [string, string]): string {
  return `${name}=${value}`;
}

describe('a Set-Cookie line sets', () => {
  test.each([
    ['a=1', 'a'],
    ['a=1; Path=/; Domain=example.com', 'a'],
    ['  a = 1', 'a'],
    ['\ta\t=1', 'a'],
    ['a', 'a'],
    ['a; Path=/', 'a'],
    ['a==1', 'a'],
    ['better-auth.session_token=x; Domain=.example.com', 'better-auth.session_token'],
    ['', ''],
    ['; Path=/', ''],
  ])('%j: %j', (line, name) => {
    expect(setCookieName(line)).toBe(name);
  });

  // RFC 6265bis section 5.6: a line without a name sets a nameless cookie, which is sent back as its bare value.
  test.each([
    '=better-auth.session_token=evil',
    ' = better-auth.session_token=evil',
    '==better-auth.session_token=evil',
    '=__Secure-better-auth.session_token=evil; Path=/',
  ])('one of ours, seen from the next request: %j', (line) => {
    expect(ownCookieName(setCookieName(line))).toBe('session_token');
  });
});
