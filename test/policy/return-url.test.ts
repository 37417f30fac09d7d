import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { safeReturnUrl } from '../../src/policy/return-url.ts';
import { scale } from '../support/scale.ts';

const PUBLIC = 'https://hub.example.com';
const TRUSTED = new Set([PUBLIC, 'https://app.example.com', 'http://localhost:5173']);

function safe(value: unknown): string | null {
  return safeReturnUrl(value, PUBLIC, TRUSTED);
}

/** Where a browser on one of our pages would go. */
function originOf(location: string): string {
  return new URL(location, `${PUBLIC}/_gateway/sign-in`).origin;
}

describe('stays here', () => {
  test.each([
    ['/', '/'],
    ['/repos', '/repos'],
    ['/repos?tab=1&x=/../y#part', '/repos?tab=1&x=/../y#part'],
    ['/a/../b', '/b'],
    ['/caf\u00e9', '/caf%C3%A9'],
    ['/@octocat', '/@octocat'],
    ['/search?q=a:b@c', '/search?q=a:b@c'],
    ['/x?next=https://evil.example/', '/x?next=https://evil.example/'],
    ['/%0d%0aSet-Cookie:x', '/%0d%0aSet-Cookie:x'],
    ['https://hub.example.com', '/'],
    ['https://hub.example.com/x?y#z', '/x?y#z'],
    ['https://hub.example.com:443/x', '/x'],
    ['HTTPS://HUB.EXAMPLE.COM/x', '/x'],
    ['https://app.example.com/x?y#z', 'https://app.example.com/x?y#z'],
    ['http://localhost:5173/', 'http://localhost:5173/'],
  ])('%j leads to %j', (value, location) => {
    expect(safe(value)).toBe(location);
  });

  test('an address is the same when it is checked again', () => {
    for (const value of ['/a/../b', '/caf\u00e9', 'https://hub.example.com/x', 'https://app.example.com'])
      expect(safe(safe(value))).toBe(safe(value));
  });
});

test.each([undefined, null, 1, true, {}, [], ['/x'], { toString: () => '/x' }, Symbol('/x')])(
  'refuses what is no text (%#)',
  (value) => {
    expect(safe(value)).toBeNull();
  },
);

test.each([
  '',
  'x',
  'x/y',
  '.',
  '..',
  '../x',
  './x',
  '?x',
  '#x',
  ' ',
  'hub.example.com',
  'hub.example.com/x',
])('refuses what is neither a path nor an address: %j', (value) => {
  expect(safe(value)).toBeNull();
});

test('refuses an address too long to be one', () => {
  expect(safe(`/${'x'.repeat(2047)}`)).not.toBeNull();
  expect(safe(`/${'x'.repeat(2048)}`)).toBeNull();
});

const SCHEMES = [
  ...[
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'javascript://hub.example.com/%0aalert(1)',
    'javascript:/x',
  ],
  ...[
    'data:text/html,x',
    'data:text/html;base64,eA==',
    'vbscript:x',
    'file:///etc/passwd',
    'blob:https://hub.example.com/x',
  ],
  ...[
    'ftp://hub.example.com/',
    'ws://hub.example.com/',
    'about:blank',
    'view-source:https://hub.example.com',
  ],
  ...[
    'mailto:x@hub.example.com',
    'intent://hub.example.com',
    'https:hub.example.com',
    'https:/hub.example.com',
    'http:x',
  ],
];

test.each(SCHEMES)('refuses %j', (value) => {
  expect(safe(value)).toBeNull();
});

const LOOK_ALIKES = [
  ...[
    'http://hub.example.com/',
    'https://hub.example.com:444/',
    'https://hub.example.com:80/',
    'http://app.example.com',
  ],
  ...[
    'https://hub.example.com.evil.example/',
    'https://evil.example/hub.example.com',
    'https://evilhub.example.com',
  ],
  ...['https://hub.example.com.', 'https://hub.example.com%2eevil.example/', 'https://x.hub.example.com/'],
  ...[
    'https://example.com/',
    'https://hub.example.co',
    'https://hub.example.comm/',
    'https://hub-example.com/',
  ],
  ...['https://evil.example?https://hub.example.com', 'https://evil.example#https://hub.example.com/'],
  ...['http://localhost:5174/', 'http://localhost/', 'http://127.0.0.1:5173/', 'https://localhost:5173/'],
  // Letters of other alphabets, and characters that IDNA maps to dots and slashes.
  ...['https://h\u0443b.example.com/', 'https://hub.ex\u0430mple.com/', 'https://xn--hb-yia.example.com/'],
  ...['https://hub.example.com\u3002evil.example/', 'https://evil.example\u2044hub.example.com/'],
  ...[
    'https://evil.example\uff0fhub.example.com',
    'https://hub.example.com\uff20evil.example/',
    'https://\u2488evil.example',
  ],
  // User and password in front of the host.
  ...[
    'https://hub.example.com@evil.example/',
    'https://hub.example.com:443@evil.example/',
    'https://x@hub.example.com/',
  ],
  ...[
    'https://hub.example.com%40evil.example/',
    'https://hub.example.com%2f@evil.example',
    'https://:@hub.example.com/',
  ],
  ...['https://@hub.example.com/', 'https://hub.example.com&@evil.example#@hub.example.com/'],
  // More or fewer slashes than two.
  ...[
    '//evil.example',
    '///evil.example',
    '////evil.example',
    '/////evil.example/',
    'https:///evil.example',
    'https:////evil.example',
  ],
  ...[
    '//evil.example/hub.example.com',
    '//hub.example.com@evil.example',
    '//hub.example.com:443@evil.example/',
  ],
  ...[
    '//app.example.com/x',
    '//localhost:5173/',
    '//[::1]',
    '//0x7f000001/',
    '//127.1',
    '///app.example.com',
  ],
  // A backslash is a slash to browsers.
  ...[
    '/\\evil.example',
    '\\\\evil.example',
    '\\/evil.example',
    '/\\/evil.example',
    '//\\evil.example',
    '/\\\\evil.example',
  ],
  ...[
    'https:\\\\evil.example',
    'https:/\\evil.example',
    'https://hub.example.com\\@evil.example',
    'https://evil.example\\@hub.example.com',
  ],
  ...['https://evil.example\\.hub.example.com', '/x\\..\\/evil.example', '/\\[::1]', '\\evil.example'],
  // Blanks, which browsers cut off, and tabs and line breaks, which they skip.
  ...[
    ' //evil.example',
    '\t//evil.example',
    '/\t/evil.example',
    '/\n/evil.example',
    '/\r/evil.example',
    '/\r\n/evil.example',
  ],
  ...[
    '\n//evil.example',
    '//evil\t.example',
    'ht\ntps://evil.example',
    'java\tscript:alert(1)',
    'java\nscript:x',
    '\x01javascript:x',
  ],
  ...[
    '/x\r\nSet-Cookie: a=b',
    '/x\nLocation: https://evil.example',
    '/x\0',
    '/ x',
    '/x ',
    '\u00a0//evil.example',
    '\u0000//evil.example',
  ],
  ...[
    '\ufeff//evil.example',
    '\u2028//evil.example',
    '\u3000//evil.example',
    '/\t\\evil.example',
    '/\x7f/evil.example',
  ],
  // Dot segments that leave an address without a scheme.
  ...[
    '/.//evil.example',
    '/..//evil.example',
    '/x/..//evil.example',
    '/x/../../..//evil.example',
    '/./..//evil.example',
  ],
  ...[
    '/%2e//evil.example',
    '/%2e%2e//evil.example',
    '/x/%2E%2e//evil.example',
    '/.%2e//evil.example',
    '/x/.//../..//evil.example',
  ],
  ...[
    'https://hub.example.com//evil.example',
    'https://hub.example.com/..//evil.example',
    'https://hub.example.com/.//evil.example',
  ],
];

test.each(LOOK_ALIKES)('refuses %j', (value) => {
  expect(safe(value)).toBeNull();
});

const ENCODED = [
  ...[
    '/%2fevil.example',
    '/%5cevil.example',
    '/%5c%5cevil.example',
    '/%09/evil.example',
    '/%0a/evil.example',
  ],
  ...[
    '/%0d%0a/evil.example',
    '/%252fevil.example',
    '/%2f%2fevil.example',
    '/%00//evil.example',
    '/%20//evil.example',
  ],
  ...[
    '/%68ttps://evil.example',
    '/;//evil.example',
    '/:80//evil.example',
    '/?//evil.example',
    '/#//evil.example',
  ],
  ...[
    '/javascript:alert(1)',
    '/@evil.example',
    '/x@evil.example',
    '/https://evil.example',
    '/\u2044evil.example',
  ],
  ...['/\uff0fevil.example', '/\u3002evil.example', '/\ufeff/evil.example', '/\u2028/evil.example', '/[::1]'],
];

test.each(ENCODED)('follows %j no further than here', (value) => {
  const location = safe(value);
  expect(location).not.toBeNull();
  expect(originOf(String(location))).toBe(PUBLIC);
});

/** Every start, host and separator seen in the lists above, in any combination. */
function spellings(): fc.Arbitrary<string> {
  const piece = fc.constantFrom(
    ...[
      '/',
      '/',
      '//',
      '\\',
      '.',
      '..',
      '@',
      ':',
      '?',
      '#',
      ';',
      '%2f',
      '%5c',
      '%2e',
      '%09',
      '%0a',
      '\t',
      '\n',
      '\r',
      ' ',
      '\0',
    ],
    ...[
      'https:',
      'http:',
      'HTTPS:',
      'javascript:',
      'data:',
      'https://',
      'https://hub.example.com',
      'https://app.example.com',
    ],
    ...[
      'hub.example.com',
      'evil.example',
      'localhost:5173',
      '[::1]',
      ':443',
      '\u3002',
      '\uff0f',
      '\u2044',
      '\ufeff',
      'x',
      '\ud800',
    ],
  );
  return fc.array(piece, { minLength: 1, maxLength: 7 }).map((pieces) => pieces.join(''));
}

test('no spelling leads away from our origins, or splits a header', () => {
  let followed = 0;
  fc.assert(
    fc.property(spellings(), (value) => {
      const location = safe(value);
      if (location === null) return;
      followed++;
      expect(TRUSTED).toContain(originOf(location));
      expect(location).toMatch(/^[\x21-\x7e]+$/);
      if (location.startsWith('/')) expect(originOf(location)).toBe(PUBLIC);
    }),
    { numRuns: scale({ quick: 5_000, full: 200_000 }) },
  );
  expect(followed).toBeGreaterThan(100);
});
