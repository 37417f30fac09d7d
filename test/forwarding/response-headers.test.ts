import { describe, expect, test } from 'vitest';
import { buildResponseHeaders } from '../../src/forwarding/response-headers.ts';
import { NO_COOKIES, SESSION_COOKIES } from '../../src/policy/cookies.ts';

type Header = [name: string, value: string];

/** What the client gets of these headers of an upstream, the gateway’s own request id aside. */
function passed(headers: readonly Header[], settableCookies = NO_COOKIES): Header[] {
  const flat = buildResponseHeaders({
    rawHeaders: headers.flat().map((part) => Buffer.from(part, 'latin1')),
    requestId: 'request-1',
    settableCookies,
    ownCookie: null,
    targets: [],
  });
  const pairs = flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1]] as Header] : []));
  expect(pairs.filter(([name]) => name.toLowerCase() === 'x-request-id')).toEqual([
    ['X-Request-Id', 'request-1'],
  ]);
  return pairs.slice(0, -1);
}

test('an answer’s headers go down as they came and in order', () => {
  const headers: Header[] = [
    ['Content-Type', 'text/html'],
    ['content-encoding', 'br'],
    ['ETag', 'W/"x"'],
    ['X-Latin', 'caf\u00e9'],
    ['Vary', 'a'],
    ['vary', 'b'],
    ['Content-Length', '5'],
    ['WWW-Authenticate', 'Basic'],
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ];
  expect(passed(headers)).toEqual(headers);
});

describe('hop-by-hop headers stay behind', () => {
  test.each([
    ...[
      'Connection',
      'Keep-Alive',
      'Proxy-Authenticate',
      'Proxy-Authorization',
      'Proxy-Connection',
      'TE',
      'Trailer',
    ],
    ...['Transfer-Encoding', 'Upgrade'],
  ])('%s', (name) => {
    const headers = [name, name.toLowerCase(), name.toUpperCase()].map((spelling): Header => [spelling, 'x']);
    expect(passed([...headers, ['X-Other', '1']])).toEqual([['X-Other', '1']]);
  });

  test('and so do those that Connection names', () => {
    expect(
      passed([
        ['X-Foo', '1'],
        ['connection', 'close, X-FOO'],
        ['Connection', 'x-bar'],
        ['x-foo', '2'],
        ['X-Bar', '3'],
        ['X-Other', '4'],
      ]),
    ).toEqual([['X-Other', '4']]);
  });

  test('but no length, however Connection calls it', () => {
    expect(
      passed([
        ['Connection', 'content-length'],
        ['Content-Length', '5'],
      ]),
    ).toEqual([['Content-Length', '5']]);
  });
});

const OWN_COOKIES = [
  ...['session_token', 'session_data', 'session_data.0', 'account_data', 'account_data.3', 'dont_remember'],
  ...['admin_session', 'state', 'oauth_state'],
].flatMap((name) => [`better-auth.${name}`, `__Secure-better-auth.${name}`, `__Host-better-auth.${name}`]);

describe('an upstream cannot set', () => {
  test.each(OWN_COOKIES)('%s', (name) => {
    const lines = [
      `${name}=evil; Path=/`,
      `${name}=evil; Domain=.example.com; Secure`,
      `${name}=; Max-Age=0`,
      ` ${name} = evil`,
      `${name.toUpperCase()}=evil`,
      `${name}`,
      `=${name}=evil`,
    ];
    for (const line of lines) expect([line, passed([['Set-Cookie', line]])]).toEqual([line, []]);
    expect(passed([['SET-COOKIE', `${name}=evil`]])).toEqual([]);
  });
});

test('every cookie of its own goes down, in order', () => {
  const own = Array.from({ length: 50 }, (_, at): Header => ['Set-Cookie', `c${at}=${at}; Path=/; HttpOnly`]);
  const doubles: Header[] = [
    ['set-cookie', 'a=1'],
    ['set-cookie', 'a=1'],
    ['set-cookie', 'theme=better-auth.session_token; Domain=.example.com'],
    ['set-cookie', 'better-auth.theme=x'],
  ];
  const ours: Header[] = [
    ['Set-Cookie', 'better-auth.session_token=x'],
    ['Set-Cookie', 'better-auth.session_data=y'],
  ];
  expect(passed([...own, ...ours, ...doubles])).toEqual([...own, ...doubles]);
});

describe('an upstream that may set session cookies', () => {
  test.each([
    'better-auth.session_token',
    '__Secure-better-auth.session_data.0',
    'better-auth.admin_session',
  ])('sets %s', (name) => {
    expect(passed([['Set-Cookie', `${name}=x`]], SESSION_COOKIES)).toEqual([['Set-Cookie', `${name}=x`]]);
  });

  test.each(['better-auth.account_data', '__Secure-better-auth.account_data.1', '=better-auth.account_data'])(
    'does not put a token into %s',
    (name) => {
      expect(passed([['Set-Cookie', `${name}=x`]], SESSION_COOKIES)).toEqual([]);
    },
  );
});

test.each([
  'X-Gateway-Intercepted-Response',
  'x-gateway-intercepted-response',
  'X-GitHub-Status',
  'X-Request-Id',
])('%s of an upstream stays behind', (name) => {
  expect(passed([[name, 'true']])).toEqual([]);
});
