import { expect, test } from 'vitest';
import { hostName, hostPatternSchema, hostPatterns, isWellFormedHost } from '../../src/policy/host.ts';

test.each([
  ...[
    'hub.example.com',
    'HUB.example.com',
    'hub',
    'hub:8080',
    'a_b.example',
    'xn--hb-yia.example',
    '1.2.3.4:80',
  ],
  ...['[::1]', '[2001:db8::1]:8080', 'hub.example.com.', `${'a'.repeat(63)}.example:65535`],
])('%j may stand in a Host header', (host) => {
  expect(isWellFormedHost(host)).toBe(true);
});

test.each([
  ...[
    '',
    ' ',
    'a b',
    'a/b',
    'a\\b',
    'a@b',
    'user:pw@a',
    'a?b',
    'a#b',
    'a;b',
    'a,b',
    'a, b',
    'a"b',
    "a'b",
    'a<b>',
  ],
  ...[
    '.a',
    '-a',
    ':80',
    'a:',
    'a:x',
    'a:123456',
    'a:80:80',
    'a%2fb',
    'caf\u00e9',
    '[::1',
    '::1',
    '[]',
    '[g::]',
    '[::1]x',
  ],
  ...['http://a', '//a', 'a\tb', 'a\0', 'a:65536', '[1:2]', '[::1]:99999'],
])('%j may not', (host) => {
  expect(isWellFormedHost(host)).toBe(false);
});

test.each([
  ['hub.example.com', 'hub.example.com'],
  ['HUB.Example.COM:8080', 'hub.example.com'],
  ['hub.example.com.', 'hub.example.com'],
  ['hub.example.com.:443', 'hub.example.com'],
  ['[2001:DB8::1]:80', '[2001:db8::1]'],
  ['[::1]', '[::1]'],
  ['', ''],
])('%j asks for the host %j', (host, name) => {
  expect(hostName(host)).toBe(name);
});

test('the patterns of a name begin with itself and grow wider', () => {
  expect(hostPatterns('a.b.example.com')).toEqual([
    'a.b.example.com',
    '*.b.example.com',
    '*.example.com',
    '*.com',
  ]);
  expect(hostPatterns('localhost')).toEqual(['localhost']);
  expect(hostPatterns('a.'.repeat(16_000)), 'no name is that long').toEqual([]);
});

test.each(['hub.example.com', '*.example.com', 'localhost', '127.0.0.1', '[::1]', 'a-b.example'])(
  'a route may name %s',
  (pattern) => {
    expect(hostPatternSchema.safeParse(pattern).success).toBe(true);
  },
);

test.each([
  ...[
    '',
    '*',
    '*.',
    'Hub.example.com',
    'hub.example.com:80',
    'hub.example.com.',
    'a.*.com',
    '*a.com',
    '**.com',
  ],
  ...['https://hub.example.com', 'hub/x', '-a.com', 'a..b', 'caf\u00e9.example', ' a', '*.*.com'],
])('a route may not name %j', (pattern) => {
  expect(hostPatternSchema.safeParse(pattern).success).toBe(false);
});
