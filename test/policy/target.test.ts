import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { routeSchema } from '../../src/policy/route-options.ts';
import { createRouteTable, type MatchRoute } from '../../src/policy/route-table.ts';
import { type AmbiguousReason, parseTarget, type Target } from '../../src/policy/target.ts';
import { report } from '../support/figures.ts';
import { scale } from '../support/scale.ts';

const REFUSED: Record<string, readonly (readonly [url: string, reason: AmbiguousReason])[]> = {
  'a dot segment': [
    ['/.', 'dot-segment'],
    ['/..', 'dot-segment'],
    ['/api/./admin', 'dot-segment'],
    ['/api/admin/.', 'dot-segment'],
    ['/api/admin/./', 'dot-segment'],
    ['/public/../api/admin', 'dot-segment'],
    ['/public/..', 'dot-segment'],
    ['/./api/admin', 'dot-segment'],
    ['/../api/admin', 'dot-segment'],
    ['/public/../../api/admin', 'dot-segment'],
    ['/api/admin/..?x=1', 'dot-segment'],
  ],
  'a dot segment with escapes': [
    ['/api/%2e/admin', 'dot-segment'],
    ['/api/%2E/admin', 'dot-segment'],
    ['/api/admin/%2e', 'dot-segment'],
    ['/public/%2e%2e/api/admin', 'dot-segment'],
    ['/public/%2E%2E/api/admin', 'dot-segment'],
    ['/public/%2e%2E/api/admin', 'dot-segment'],
    ['/public/.%2e/api/admin', 'dot-segment'],
    ['/public/%2e./api/admin', 'dot-segment'],
    ['/public/%2e%2e', 'dot-segment'],
    ['/%2e%2e/api/admin', 'dot-segment'],
  ],
  'an encoded slash or backslash': [
    ['/api%2fadmin', 'encoded-slash'],
    ['/api%2Fadmin', 'encoded-slash'],
    ['/api/admin%2fx', 'encoded-slash'],
    ['/%2fapi/admin', 'encoded-slash'],
    ['/%2f%2fapi/admin', 'encoded-slash'],
    ['/public/..%2fapi/admin', 'encoded-slash'],
    ['/public/%2e%2e%2fapi%2fadmin', 'encoded-slash'],
    ['/public/..%5capi/admin', 'encoded-slash'],
    ['/api%5cadmin', 'encoded-slash'],
    ['/api%5Cadmin', 'encoded-slash'],
    ['/public/%2e%2e%5c', 'encoded-slash'],
  ],
  'a backslash': [
    ['/api\\admin', 'backslash'],
    ['/\\api\\admin', 'backslash'],
    ['/public\\..\\api\\admin', 'backslash'],
    ['/public/\\..\\api', 'backslash'],
    ['/api/admin\\', 'backslash'],
  ],
  'double encoding': [
    ['/public/%252e%252e/api/admin', 'double-encoding'],
    ['/api/%252e/admin', 'double-encoding'],
    ['/api/%25252e/admin', 'double-encoding'],
    ['/api/%2561dmin', 'double-encoding'],
    ['/api%252fadmin', 'double-encoding'],
    ['/api%252Fadmin', 'double-encoding'],
    ['/api%255cadmin', 'double-encoding'],
    ['/api%253b/admin', 'double-encoding'],
    ['/api%2500/admin', 'double-encoding'],
    ['/api/%25%32%65/admin', 'double-encoding'],
    ['/api/%252%65/admin', 'double-encoding'],
    ['/api/%25%32e/admin', 'double-encoding'],
    ['/api%25%32%66admin', 'double-encoding'],
    ['/api%252%46admin', 'double-encoding'],
    ['/api/%25%36%31dmin', 'double-encoding'],
    ['/api/%2525%32%65/admin', 'double-encoding'],
  ],
  'an empty segment': [
    ['//', 'empty-segment'],
    ['//api/admin', 'empty-segment'],
    ['/api//admin', 'empty-segment'],
    ['/api///admin', 'empty-segment'],
    ['/api/admin//', 'empty-segment'],
    ['//evil.example/api/admin', 'empty-segment'],
    ['/api//%61dmin', 'empty-segment'],
  ],
  'a path parameter': [
    ['/api;x=1/admin', 'path-parameter'],
    ['/api/admin;x=1', 'path-parameter'],
    ['/;x=1/api/admin', 'path-parameter'],
    ['/api;/admin', 'path-parameter'],
    ['/api/;/admin', 'path-parameter'],
    ['/public/..;/api/admin', 'path-parameter'],
    ['/public/..;x=1/api', 'path-parameter'],
    ['/public/.;/api', 'path-parameter'],
    ['/api%3bx=1/admin', 'path-parameter'],
    ['/api/admin%3B', 'path-parameter'],
    ['/api/admin;jsessionid=1?x', 'path-parameter'],
  ],
  'a control character': [
    ['/api/admin\0', 'control-character'],
    ['/api/ad\tmin', 'control-character'],
    ['/api/ad\nmin', 'control-character'],
    ['/api/ad\r\nmin', 'control-character'],
    ['/api/ad min', 'control-character'],
    ['/api/admin\x7f', 'control-character'],
    ['/api/admin\x1b', 'control-character'],
    ['/api/admin%00', 'encoded-control-character'],
    ['/api/admin%00.css', 'encoded-control-character'],
    ['/api/%09admin', 'encoded-control-character'],
    ['/api/%0aadmin', 'encoded-control-character'],
    ['/api/x%0a.js', 'encoded-control-character'],
    ['/api/%0d%0aSet-Cookie:%20a=b', 'encoded-control-character'],
    ['/api/%0D%0Aadmin', 'encoded-control-character'],
    ['/api/admin%1f', 'encoded-control-character'],
    ['/api/admin%7f', 'encoded-control-character'],
    ['/api/admin%7F', 'encoded-control-character'],
  ],
  'an escape that is none': [
    ['/api/%', 'bad-percent-encoding'],
    ['/api/%2', 'bad-percent-encoding'],
    ['/api/%zz', 'bad-percent-encoding'],
    ['/api/%2gadmin', 'bad-percent-encoding'],
    ['/api/%u002e/admin', 'bad-percent-encoding'],
    ['/api/%-1', 'bad-percent-encoding'],
    ['/api/% 1', 'control-character'],
    ['/api/%%32%65/admin', 'bad-percent-encoding'],
  ],
  'bytes that are not UTF-8': [
    ['/api/%ff', 'invalid-utf8'],
    ['/api/%c0%ae/admin', 'invalid-utf8'],
    ['/public/%c0%ae%c0%ae/api', 'invalid-utf8'],
    ['/api%c0%afadmin', 'invalid-utf8'],
    ['/api%e0%80%afadmin', 'invalid-utf8'],
    ['/api%f0%80%80%afadmin', 'invalid-utf8'],
    ['/api/%c1%9c', 'invalid-utf8'],
    ['/api/%e9', 'invalid-utf8'],
    ['/api/%c3', 'invalid-utf8'],
    ['/api/%c3/%a9', 'invalid-utf8'],
    ['/api/%ed%a0%80', 'invalid-utf8'],
    ['/api/%f4%90%80%80', 'invalid-utf8'],
    ['/api/%80', 'invalid-utf8'],
  ],
  'a raw fragment': [
    ['/public#/api/admin', 'fragment'],
    ['/api/admin#', 'fragment'],
    ['/#', 'fragment'],
    ['/api?x#y', 'fragment'],
  ],
  'raw bytes beyond ASCII': [
    ['/caf\u00e9', 'non-ascii'],
    ['/caf\u00c3\u00a9', 'non-ascii'],
    ['/api/\uff0e\uff0e/admin', 'non-ascii'],
    ['/api\uff0fadmin', 'non-ascii'],
    ['/api/admin\u00a0', 'non-ascii'],
    ['/api?name=\u00e9', 'non-ascii'],
  ],
  'a form other than a path': [
    ['', 'not-origin-form'],
    ['*', 'not-origin-form'],
    ['?x=1', 'not-origin-form'],
    ['#', 'not-origin-form'],
    ['api/admin', 'not-origin-form'],
    ['./api', 'not-origin-form'],
    ['hub.example:443', 'not-origin-form'],
    ['http://hub.example/api/admin', 'not-origin-form'],
    ['https://evil.example/', 'not-origin-form'],
    ['HTTP://HUB.EXAMPLE/', 'not-origin-form'],
    ['\\api\\admin', 'not-origin-form'],
    ['%2fapi/admin', 'not-origin-form'],
    [' /api/admin', 'not-origin-form'],
  ],
  'a query that would split a line': [
    ['/api?x=1\r\nHost: evil', 'control-character'],
    ['/api?x=a b', 'control-character'],
    ['/api?x=\0', 'control-character'],
    ['/api?x=\x7f', 'control-character'],
  ],
};

describe.each(Object.entries(REFUSED))('refuses %s', (_kind, rows) => {
  test.each(rows)('%j as %s', (url, reason) => {
    expect(reasonOf(url)).toBe(reason);
  });
});

/** Why no route takes this target, unless it opts in; null when any may. */
function reasonOf(url: string): AmbiguousReason | null {
  const result = parseTarget(url);
  return result.ok ? (result.target.ambiguity?.reason ?? null) : result.reason;
}

test('refuses every bad path in front of each further query, too', () => {
  const accepted = Object.values(REFUSED)
    .flat()
    .filter(([url, reason]) => url !== '' && reason !== 'fragment' && !url.includes('?'))
    .filter(([url]) => reasonOf(`${url}?/public`) === null);
  expect(accepted).toEqual([]);
});

describe('routes may opt in to', () => {
  test.each<[url: string, encodedSlash: boolean, pathParameter: boolean, readings: string[]]>([
    ['/a%2fb', true, false, ['/a%2fb', '/a/b']],
    ['/a%2Fb/%41', true, false, ['/a%2Fb/A', '/a/b/A']],
    ['/a%2f', true, false, ['/a%2f', '/a/']],
    ['/a;x=1/b', false, true, ['/a;x=1/b', '/a/b', '/a']],
    ['/a%3Bx', false, true, ['/a%3Bx', '/a']],
    ['/a;', false, true, ['/a;', '/a']],
    ['/a%3bx/b', false, true, ['/a%3bx/b', '/a/b', '/a']],
    ['/a%3b/b;c/d', false, true, ['/a%3b/b;c/d', '/a%3b/b/d', '/a/b/d', '/a%3b/b', '/a']],
    ['/a;v=1%2f2/c', true, true, ['/a;v=1%2f2/c', '/a/c', '/a', '/a;v=1/2/c', '/a/2/c']],
  ])('%s, which may be read in so many ways', (url, encodedSlash, pathParameter, readings) => {
    const result = parseTarget(`${url}?x=%2f;`);
    expect(result).toMatchObject({
      target: { path: url, query: '?x=%2f;', ambiguity: { encodedSlash, pathParameter } },
    });
    expect(result.ok && [...(result.target.ambiguity?.readings ?? [])].sort()).toEqual([...readings].sort());
  });

  test.each([
    ...['/a/..%2fb', '/a/%2e%2e%2fb', '/a%2f..', '/a%2f.%2fb', '/a%2f%2e', '/%2e%2f', '/a%2f%2fb', '/a/%2fb'],
    ...[
      '/%2fa',
      '/a%2f/b',
      '/a%5cb',
      '/a%2fb%5c',
      '/a%2fb\\c',
      '/a%2fb%00',
      '/a%2fb%252f',
      '/a%2fb%25%32%66',
    ],
    ...['/a%2fb%ff', '/a%2fb%', '/a;x%0a', '/a;x//b', '/a/..;/b', '/a/.;x/b', '/;x/b', '/a/;/b', '/a/..;x'],
    ...['/a/%2e%2e;x/b', '/a;x%2f..%2fb', '/a;x%2f../b', '/a%3b/../b', '/a/..%3bx/b', '/a;\u00e9', '/a; b'],
    ...['/a;x#', '/a;x%252e', '/a;x\\..\\b'],
  ])('but not to %j', (url) => {
    expect(parseTarget(url)).toMatchObject({ ok: false });
  });

  test('nothing in the paths that have one reading', () => {
    for (const [url] of ACCEPTED) expect(parseTarget(url)).not.toHaveProperty('target.ambiguity');
  });
});

const ACCEPTED: readonly (readonly [url: string, path: string, query: string, matchPath: string])[] = [
  ['/', '/', '', '/'],
  ['/api/admin', '/api/admin', '', '/api/admin'],
  ['/api/admin/', '/api/admin/', '', '/api/admin/'],
  ['/api/ADMIN', '/api/ADMIN', '', '/api/ADMIN'],
  ['/api/%61dmin', '/api/%61dmin', '', '/api/admin'],
  ['/api/%41dmin', '/api/%41dmin', '', '/api/Admin'],
  ['/%7Euser/%2Dx%5F', '/%7Euser/%2Dx%5F', '', '/~user/-x_'],
  ['/a%2Eb', '/a%2Eb', '', '/a.b'],
  ['/...', '/...', '', '/...'],
  ['/.well-known/x', '/.well-known/x', '', '/.well-known/x'],
  ['/a..b/.c', '/a..b/.c', '', '/a..b/.c'],
  ['/caf%C3%A9', '/caf%C3%A9', '', '/caf%C3%A9'],
  ['/caf%c3%a9', '/caf%c3%a9', '', '/caf%c3%a9'],
  ['/cafe%CC%81', '/cafe%CC%81', '', '/cafe%CC%81'],
  ['/%F0%9F%99%82', '/%F0%9F%99%82', '', '/%F0%9F%99%82'],
  ['/public%23/api/admin', '/public%23/api/admin', '', '/public%23/api/admin'],
  ['/a%20b', '/a%20b', '', '/a%20b'],
  ['/100%25', '/100%25', '', '/100%25'],
  ['/100%25/x', '/100%25/x', '', '/100%25/x'],
  ['/a%3Fb', '/a%3Fb', '', '/a%3Fb'],
  ["/@user:x/!$&'()*+,=", "/@user:x/!$&'()*+,=", '', "/@user:x/!$&'()*+,="],
  ['/api?/public', '/api', '?/public', '/api'],
  ['/api?x=/../admin', '/api', '?x=/../admin', '/api'],
  ['/api?a=1?b=2', '/api', '?a=1?b=2', '/api'],
  ['/api?', '/api', '?', '/api'],
  ['/api??', '/api', '??', '/api'],
  ['/api?x=//a;b=%2f%00%zz%', '/api', '?x=//a;b=%2f%00%zz%', '/api'],
  ['/api?x=a\\b', '/api', '?x=a\\b', '/api'],
  ['/api?%61=%2561', '/api', '?%61=%2561', '/api'],
  ['/__proto__/constructor', '/__proto__/constructor', '', '/__proto__/constructor'],
];

test.each(ACCEPTED)('passes %j on byte for byte', (url, path, query, matchPath) => {
  expect(parseTarget(url)).toEqual({ ok: true, target: { path, query, matchPath } });
  expect(path + query).toBe(url);
});

test.each([8, 15, 64])('reads a target of %i KB', (size) => {
  const path = `/${'x'.repeat(size * 1024 - 1)}`;
  expect(parseTarget(path)).toEqual({ ok: true, target: { path, query: '', matchPath: path } });
  expect(parseTarget(`/${'%61'.repeat(size * 300)}`)).toMatchObject({ ok: true });
  expect(parseTarget(`${path}/..`)).toEqual({ ok: false, reason: 'dot-segment' });
});

test('changes no byte of any target it accepts', () => {
  fc.assert(
    fc.property(urls(), (url) => {
      const result = parseTarget(url);
      if (result.ok) expect(result.target.path + result.target.query).toBe(url);
    }),
    { numRuns: scale({ quick: 2_000, full: 100_000 }) },
  );
});

const ACCESS_OF: Record<string, number> = {
  '/public/**': 1,
  '/api/**': 2,
  '/api/*/x': 3,
  '/api/admin/**': 4,
};

/** Routes of which these let encoded slashes and parameters pass. */
function tableOf(lenient: (path: string) => boolean) {
  return createRouteTable(
    Object.keys(ACCESS_OF).map((path) => {
      const word = lenient(path) ? 'allow' : 'refuse';
      return routeSchema.parse({ path, upstream: 'hub', encodedSlashes: word, pathParameters: word });
    }),
  );
}

const TABLES = [() => false, () => true, (path: string) => !path.includes('admin')].map(tableOf);

/** 4 is the strongest rule, 0 is none: not routed, and so never sent. */
function strength(table: MatchRoute, target: Target): number {
  const match = table('GET', target, '');
  return match.found === 'route' ? (ACCESS_OF[match.route.name] ?? 0) : 0;
}

/** What servers behind gateways have been seen to do to a path. */
const READINGS: readonly ((path: string) => string)[] = [
  (path) => path.replace(/[A-Z]/g, (letter) => letter.toLowerCase()),
  (path) => path.replace(/\/{2,}/g, '/'),
  (path) => path.replace(/;[^/]*/g, ''),
  (path) => path.replace(/;.*/, ''),
  decodeLoosely,
  (path) => decodeLoosely(decodeLoosely(path)),
  (path) => path.replaceAll('\\', '/'),
  removeDotSegments,
];

/** Decodes what it can and leaves the rest, as lenient servers do. */
function decodeLoosely(path: string): string {
  return path.replace(/(?:%[0-9A-Fa-f]{2})+/g, (escapes) => {
    const bytes = Uint8Array.from(escapes.slice(1).split('%'), (hex) => Number.parseInt(hex, 16));
    return new TextDecoder().decode(bytes);
  });
}

function removeDotSegments(path: string): string {
  const kept: string[] = [];
  for (const segment of path.slice(1).split('/')) {
    if (segment === '..') kept.pop();
    else if (segment !== '.') kept.push(segment);
  }
  return `/${kept.join('/')}`;
}

function urls(): fc.Arbitrary<string> {
  const piece = fc.constantFrom(
    ...['public', 'api', 'admin', 'ADMIN', 'x', '/', '/', '/', '.', '..', ';', ';x=1', '\\', '?', '#', '//'],
    ...['%', '%2', '2e', '%2e', '%2E', '%2f', '%5c', '%3b', '%25', '%32', '%65', '%66', '%46', '%61', '%41'],
    ...['%00', '%c0%ae', '%C3%A9', '%ff', '%23', '%3F', '%20', '%7f', 'é', ' ', '\0'],
  );
  return fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`);
}

/** Spellings of paths that a stronger rule governs, of which many are accepted. */
function disguises(): fc.Arbitrary<string> {
  const letter = (character: string) =>
    fc.constantFrom(character, character.toUpperCase(), escaped(character), escaped(character, 2));
  const between = fc.constantFrom(
    '/',
    '/',
    '/',
    '//',
    '/./',
    '%2f',
    '%252f',
    '%25%32%66',
    '\\',
    ';/',
    '/x/../',
  );
  const word = (text: string) => fc.tuple(...[...text].map(letter)).map((letters) => letters.join(''));
  return fc
    .tuple(between, word('api'), between, word('admin'), fc.constantFrom('', '/', '/x', '%23', '%2e', '?x'))
    .map((parts) => parts.join(''));
}

/** Paths that are mostly accepted where routes opt in. */
function optIns(): fc.Arbitrary<string> {
  const piece = fc.constantFrom(
    '/',
    '/',
    '%2f',
    '%2F',
    ';x=1',
    ';',
    '%3b',
    'x',
    'admin',
    'Admin',
    '%61dmin',
    'a',
  );
  const first = fc.constantFrom('/public/', '/api/', '/api/admin/', '/api/x;', '/api/admin%2f');
  return fc
    .tuple(first, fc.array(piece, { maxLength: 6 }))
    .map(([start, rest]) => `${start}${rest.join('')}`);
}

function escaped(character: string, times = 1): string {
  const hex = character.charCodeAt(0).toString(16);
  return times === 1 ? `%${hex}` : `%25${[...hex].map((digit) => escaped(digit)).join('')}`;
}

test('governs an accepted target by a rule at least as strong as any reading of it asks for', (context) => {
  let accepted = 0;
  let optedIn = 0;
  const numRuns = scale({ quick: 5_000, full: 100_000 });
  fc.assert(
    fc.property(
      fc.oneof(urls(), disguises(), optIns()),
      fc.array(fc.constantFrom(...READINGS), { minLength: 1, maxLength: 4 }),
      fc.constantFrom(...TABLES),
      (url, readings, table) => {
        const result = parseTarget(url);
        if (!result.ok) return;
        const enforced = strength(table, result.target);
        // 404 and 400 are the strongest of all: nothing is sent.
        if (enforced === 0) return;
        accepted++;
        if (result.target.ambiguity) optedIn++;
        const read = readings.reduce((path, reading) => reading(path), result.target.path);
        const asked = strength(table, { path: read, query: '', matchPath: read });
        expect(asked).toBeLessThanOrEqual(enforced);
      },
    ),
    { numRuns },
  );
  expect(accepted).toBeGreaterThan(100);
  expect(optedIn).toBeGreaterThan(30);
  report(context, {
    'the judged path is the sent path: runs': numRuns,
    'the judged path is the sent path: counter-examples': 0,
    accepted,
    optedIn,
  });
});
