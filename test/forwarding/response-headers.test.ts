import { describe, expect, test } from 'vitest';
import { buildResponseHeaders, type ResponseHeaderParts } from '../../src/forwarding/response-headers.ts';
import { NO_COOKIES, SESSION_COOKIES } from '../../src/policy/cookies.ts';

type Header = [name: string, value: string];

/** What the client gets of these headers of an upstream, the gateway’s own request id aside. */
function passed(headers: readonly Header[], more: Partial<ResponseHeaderParts> = {}): Header[] {
  const flat = buildResponseHeaders({
    rawHeaders: headers.flat(),
    requestId: 'request-1',
    settableCookies: NO_COOKIES,
    ownCookies: [],
    targets: [{ origin: 'http://10.0.0.1:3000' }],
    ...more,
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
    expect(passed([['Set-Cookie', `${name}=x`]], { settableCookies: SESSION_COOKIES })).toEqual([
      ['Set-Cookie', `${name}=x`],
    ]);
  });

  test.each(['better-auth.account_data', '__Secure-better-auth.account_data.1', '=better-auth.account_data'])(
    'does not put a token into %s',
    (name) => {
      expect(passed([['Set-Cookie', `${name}=x`]], { settableCookies: SESSION_COOKIES })).toEqual([]);
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

test.each(['Server', 'Via', 'X-Powered-By'])('%s of an upstream goes down, and none is added', (name) => {
  expect(passed([[name, 'hub/1']])).toEqual([[name, 'hub/1']]);
  expect(passed([])).toEqual([]);
});

test.each(['Location', 'content-location'])('%s does not name the upstream’s own address', (name) => {
  const mount = { outside: '/github', inside: '' };
  expect(passed([[name, 'http://10.0.0.1:3000/x']], { mount })).toEqual([[name, '/github/x']]);
  expect(passed([[name, 'https://example.com/x']], { mount })).toEqual([[name, 'https://example.com/x']]);
});

describe('Clear-Site-Data', () => {
  test.each([
    ['"cookies"', []],
    ['"Cookies" , "cookies"', []],
    ['"cache", "cookies", "storage"', ['"cache", "storage"']],
    ['"cache"', ['"cache"']],
    ['"*"', ['"cache", "storage", "executionContexts"']],
  ])('%s does not sign people out', (value, expected) => {
    expect(passed([['Clear-Site-Data', value]]).map(([, kept]) => kept)).toEqual(expected);
  });

  test('may, of an upstream that may set session cookies', () => {
    const header: Header = ['Clear-Site-Data', '"*"'];
    expect(passed([header], { settableCookies: SESSION_COOKIES })).toEqual([header]);
  });
});

describe('an answer for one person', () => {
  const answer = { cors: null, authenticated: true };

  test('that says nothing about caching is kept by nobody', () => {
    expect(passed([['ETag', '"x"']], { answer })).toEqual([
      ['ETag', '"x"'],
      ['Cache-Control', 'private, no-store'],
    ]);
  });

  test.each([
    ['Cache-Control', 'max-age=60'],
    ['cache-control', 'no-cache'],
    ['Expires', 'Wed, 21 Oct 2037 07:28:00 GMT'],
  ] as Header[])('that says %s: %s is kept for each person alone', (...header) => {
    expect(passed([header], { answer })).toEqual([header, ['Vary', 'Cookie']]);
  });

  test('is no other than one for everybody where there is nobody', () => {
    expect(passed([], { answer: { cors: null, authenticated: false } })).toEqual([]);
  });

  test('that carries a session cookie is kept by nobody, whatever its upstream says', () => {
    const ours = ['better-auth.session_token=x', 'private, no-store'];
    const sent: Header[] = [
      ['Cache-Control', 'public, max-age=60'],
      ['Expires', 'Wed, 21 Oct 2037 07:28:00 GMT'],
      ['CDN-Cache-Control', 'max-age=60'],
      ['Surrogate-Control', 'max-age=60'],
    ];
    const kept = passed(sent, { answer, ownCookies: ours.slice(0, 1) });
    expect(kept.map(([, value]) => value)).toEqual(ours);
  });
});

describe('CORS headers', () => {
  const theirs: Header[] = [
    ['Access-Control-Allow-Origin', '*'],
    ['access-control-allow-credentials', 'true'],
    ['Access-Control-Anything', 'x'],
    ['Vary', 'Origin'],
  ];

  test('are the upstream’s where the route says nothing', () => {
    expect(passed(theirs, { answer: { cors: null, authenticated: false } })).toEqual(theirs);
    expect(passed(theirs)).toEqual(theirs);
  });

  test('are the gateway’s where the route does', () => {
    const cors = ['Access-Control-Allow-Origin', 'https://a.example', 'Vary', 'Origin'];
    expect(passed(theirs, { answer: { cors, authenticated: false } })).toEqual([
      ['Vary', 'Origin'],
      ['Access-Control-Allow-Origin', 'https://a.example'],
      ['Vary', 'Origin'],
    ]);
    expect(passed(theirs, { answer: { cors: [], authenticated: false } })).toEqual([['Vary', 'Origin']]);
  });
});
