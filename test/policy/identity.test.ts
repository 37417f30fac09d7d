import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  headerValue,
  IDENTITY_HEADERS,
  IDENTITY_PREFIXES,
  type IdentityPreset,
  identityHeaders,
} from '../../src/policy/identity.ts';
import type { Session } from '../../src/policy/session.ts';
import { scale } from '../support/scale.ts';
import { accountOf, sessionOf } from './samples.ts';

function announced(preset: IdentityPreset, more: Partial<Session> = {}): Record<string, string> {
  const flat = identityHeaders(sessionOf(more), preset, 'hash');
  const pairs = flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1]] as const] : []));
  expect(new Set(pairs.map(([name]) => name)).size).toBe(pairs.length);
  return Object.fromEntries(pairs) as Record<string, string>;
}

test('the default preset says who, with which role and which scopes', () => {
  expect(announced('oauth2-proxy', { role: 'user,admin' })).toEqual({
    'X-Forwarded-User': 'user-1',
    'X-Forwarded-Email': 'octocat@example.com',
    'X-Forwarded-Preferred-Username': 'octocat',
    'X-Forwarded-Groups': 'user,admin',
    'X-Gateway-Scopes': 'read:user',
    'X-Gateway-Session': 'hash',
  });
});

test('the preset remote says the same under other names', () => {
  expect(announced('remote')).toEqual({
    'Remote-User': 'user-1',
    'Remote-Email': 'octocat@example.com',
    'Remote-Name': 'octocat',
    'Remote-Groups': 'user',
    'X-Gateway-Scopes': 'read:user',
    'X-Gateway-Session': 'hash',
  });
});

test('the preset none says nothing', () => {
  expect(identityHeaders(sessionOf({ impersonatedBy: 'admin-1' }), 'none', 'hash')).toEqual([]);
});

test.each(['oauth2-proxy', 'remote'] as const)('%s tells who acts as somebody else', (preset) => {
  expect(announced(preset, { impersonatedBy: 'admin-1' })).toMatchObject({
    'X-Gateway-Impersonated-By': 'admin-1',
  });
});

test('leaves out what is not known', () => {
  const headers = announced('oauth2-proxy', { github: accountOf({ login: null, scopes: null }) });
  expect(headers).not.toHaveProperty('X-Forwarded-Preferred-Username');
  expect(headers).not.toHaveProperty('X-Gateway-Scopes');
  expect(announced('oauth2-proxy', { github: null })).toMatchObject({ 'X-Forwarded-User': 'user-1' });
});

test('scopes that are known to be none are told as none', () => {
  expect(announced('oauth2-proxy', { github: accountOf({ scopes: [] }) })).toMatchObject({
    'X-Gateway-Scopes': '',
  });
});

test('never tells the session’s own id, or the encrypted token', () => {
  const github = accountOf({ encryptedToken: 'v1.a.b.c.d' });
  const text = JSON.stringify(announced('oauth2-proxy', { id: 'secret-session-id', github }));
  expect(text).not.toContain('secret-session-id');
  expect(text).not.toContain('v1.a.b.c.d');
});

test.each(['oauth2-proxy', 'remote'] as const)(
  'every name %s may send is one that clients may not',
  (preset) => {
    const names = Object.keys(announced(preset, { impersonatedBy: 'admin-1' }));
    const isProtected = (name: string) =>
      IDENTITY_HEADERS.includes(name) || IDENTITY_PREFIXES.some((prefix) => name.startsWith(prefix));
    expect(names.filter((name) => !isProtected(name))).toEqual([]);
  },
);

describe('a value', () => {
  const SENDABLE = /^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/;

  test.each([
    ['plain', 'octocat@example.com', 'octocat@example.com'],
    ['empty', '', ''],
    ['with inner blanks', 'The Octocat', 'The Octocat'],
    ['with a blank before and behind', ' x ', '%20x%20'],
    ['of one blank', ' ', '%20'],
    ['of two blanks', '  ', '%20%20'],
    ['with a percent sign', '100%41', '100%2541'],
    ['with an emoji', 'cat🐙', 'cat%F0%9F%90%99'],
    ['with CR and LF', 'a\r\nX-Forwarded-User: root', 'a%0D%0AX-Forwarded-User: root'],
    ['with a bare LF', 'a\nb', 'a%0Ab'],
    ['with NUL', 'a\0b', 'a%00b'],
    ['with a tab', 'a\tb', 'a%09b'],
    ['with DEL', 'a\x7f', 'a%7F'],
    ['with Latin-1', 'é', '%C3%A9'],
    ['with a no-break space', '\u00a0', '%C2%A0'],
    ['written right to left', 'שלום\u202e', '%D7%A9%D7%9C%D7%95%D7%9D%E2%80%AE'],
    ['with a line separator', '\u2028', '%E2%80%A8'],
    ['with a byte order mark', '\ufeffx', '%EF%BB%BFx'],
  ])('%s is decoded to what it was', (_what, value, sent) => {
    expect(headerValue(value)).toBe(sent);
    expect(sent).toMatch(SENDABLE);
    expect(decodeURIComponent(sent)).toBe(value);
  });

  test.each(['x'.repeat(4096), '🐙'.repeat(1024), '\r\n'.repeat(2048), '%'.repeat(4096)])(
    'of 4 KB keeps its text',
    (value) => {
      const sent = headerValue(value);
      expect(sent).toMatch(SENDABLE);
      expect(decodeURIComponent(sent)).toBe(value);
    },
  );

  test.each(['\ud800', 'a\udc00b', '\udc00\ud800'])(
    'with half a character is sent all the same: %j',
    (value) => {
      expect(decodeURIComponent(headerValue(value))).toBe(value.toWellFormed());
    },
  );

  test('can always be sent, and decoded to what it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (value) => {
        const sent = headerValue(value);
        expect(sent).toMatch(SENDABLE);
        expect(decodeURIComponent(sent)).toBe(value.toWellFormed());
      }),
      { numRuns: scale({ quick: 1_000, full: 100_000 }) },
    );
  });
});

test('a person’s name cannot add a header, whatever is in it', () => {
  const evil = 'a\r\nX-Forwarded-Groups: admin\r\n\r\n';
  const headers = announced('oauth2-proxy', {
    userId: evil,
    email: evil,
    role: evil,
    impersonatedBy: evil,
    github: accountOf({ login: evil, scopes: [evil] }),
  });
  expect(Object.values(headers).filter((value) => /[\r\n]/.test(value))).toEqual([]);
  expect(headers['X-Forwarded-Email']).toBe(headerValue(evil));
});
