import { describe, expect, test } from 'vitest';
import { buildRequestHeaders, type RequestHeaderParts } from '../../src/forwarding/request-headers.ts';
import type { OwnCookie } from '../../src/policy/cookies.ts';

const IDENTITY = [
  ...['X-Forwarded-User', 'user-1', 'X-Forwarded-Email', 'a@example.com', 'X-Forwarded-Groups', 'user'],
  ...['X-Forwarded-Preferred-Username', 'octocat', 'X-Forwarded-Access-Token', 'gho_x'],
  ...['X-Gateway-Scopes', 'repo', 'X-Gateway-Session', 'hash', 'X-Gateway-Impersonated-By', 'admin-1'],
];
const OURS: Record<string, string> = {
  host: 'api.internal:3000',
  'x-forwarded-for': '203.0.113.9',
  'x-forwarded-proto': 'https',
  'x-forwarded-host': 'hub.example.com',
  'x-forwarded-port': '443',
  'x-request-id': 'request-1',
  ...byName(IDENTITY),
};

type Header = [name: string, value: string];

function build(
  headers: readonly Header[],
  { identity = IDENTITY, ...more }: Partial<RequestHeaderParts> & { identity?: string[] } = {},
): Header[] {
  const built = buildRequestHeaders({
    rawHeaders: headers.flat(),
    origin: {
      ...{ forwardedFor: '203.0.113.9', proto: 'https', host: 'hub.example.com', port: '443' },
      ...{ trusted: false, forwarded: null },
    },
    requestId: 'request-1',
    host: 'api.internal:3000',
    replacesAuthorization: false,
    keptCookies: new Set(),
    hasBody: true,
    ...more,
  });
  const flat = [...built, ...identity];
  return flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1]] as Header] : []));
}

/** Values by lower-case name; several of one name in a list. */
function valuesOf(headers: readonly Header[], name: string): string[] {
  return headers.filter(([each]) => each.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
}

function byName(flat: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    flat.flatMap((name, at) => (at % 2 === 0 ? [[name.toLowerCase(), flat[at + 1] ?? '']] : [])),
  );
}

function expectOurs(headers: readonly Header[], ours: Record<string, string> = OURS): void {
  for (const [name, value] of Object.entries(ours))
    expect([name, valuesOf(headers, name)]).toEqual([name, [value]]);
}

/** What the client sent and got through, beside what is ours. */
function clientsOwn(headers: readonly Header[]): Header[] {
  return headers.filter(([name]) => !Object.hasOwn(OURS, name.toLowerCase()));
}

test('the client’s headers go on as they came, in order, and ours come with them', () => {
  const sent: Header[] = [
    ['Host', 'hub.example.com'],
    ['accept', 'text/html'],
    ['X-Custom', 'a'],
    ['X-CUSTOM', 'b'],
    ['Authorization', 'Basic eA=='],
    ['Content-Length', '5'],
    ['X-Latin', 'caf\u00e9'],
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ];
  const built = build(sent);
  expect(clientsOwn(built)).toEqual(sent.slice(1));
  expectOurs(built);
});

describe('Connection', () => {
  const names = Object.keys(OURS);

  test.each(names)('naming our %s takes nothing away', (name) => {
    for (const spelling of [name, name.toUpperCase(), ` ${name} `, `close, ${name}`, `${name}, keep-alive`])
      expectOurs(
        build([
          ['Connection', spelling],
          [name, 'forged'],
        ]),
      );
  });

  test('naming all of ours on two lines takes nothing away', () => {
    const half = names.length / 2;
    const lines: Header[] = [
      ['Connection', names.slice(0, half).join(',')],
      ['connection', names.slice(half).join(', ').toUpperCase()],
    ];
    expectOurs(build(lines));
  });

  test('of a thousand names takes nothing of ours away', () => {
    const many = Array.from({ length: 1000 }, (_, at) => `x-name-${at}`);
    expectOurs(build([['Connection', [...many, ...names].join(', ')]]));
  });

  test.each(['cookie', 'authorization', 'content-length'])('naming %s leaves it on the request', (name) => {
    expect(
      valuesOf(
        build([
          ['Connection', name],
          [name, '5'],
        ]),
        name,
      ),
    ).toEqual(['5']);
  });

  test('takes along what the client names, and goes nowhere itself', () => {
    const built = build([
      ['Connection', 'X-Mine, close'],
      ['x-mine', '1'],
      ['X-Other', '2'],
    ]);
    expect(clientsOwn(built)).toEqual([['X-Other', '2']]);
  });

  test.each(['__proto__', 'constructor', '', ',', ', ,', 'keep-alive', 'upgrade'])('may read %j', (value) => {
    const built = build([
      ['Connection', value],
      ['X-Other', '2'],
    ]);
    expect(clientsOwn(built)).toEqual([['X-Other', '2']]);
  });
});

test.each([
  'Keep-Alive',
  'Proxy-Authenticate',
  'Proxy-Authorization',
  'Proxy-Connection',
  'TE',
  'Trailer',
  'Transfer-Encoding',
  'Upgrade',
])('%s is not passed on', (name) => {
  expect(
    clientsOwn(
      build([
        [name, 'x'],
        [name.toUpperCase(), 'y'],
      ]),
    ),
  ).toEqual([]);
});

describe('a forged header', () => {
  const names = Object.keys(OURS).filter((name) => name !== 'host');
  const aliases = names.flatMap((name) => [
    name,
    name.toUpperCase(),
    name.replaceAll('-', '_'),
    name.replaceAll('-', '.'),
    name.replace('-', '_'),
  ]);
  const values = ['root', '', ' ', 'x'.repeat(8192), 'root, admin'];

  test.each(aliases)('%s gives way to ours', (alias) => {
    for (const value of values) {
      const built = build([
        [alias, value],
        ['X-Between', '1'],
        [alias, value],
      ]);
      expectOurs(built);
      expect(clientsOwn(built)).toEqual([['X-Between', '1']]);
    }
  });

  test.each(aliases)('%s is gone for an anonymous caller, too', (alias) => {
    const built = build([[alias, 'root']], { identity: [] });
    expect(built.flat()).not.toContain('root');
    expect(built).toHaveLength(6);
  });
});

test.each(['X-Original-URL', 'X-Rewrite-URL', 'X-Forwarded-Uri', 'X-Forwarded-Prefix', 'X-Forwarded-Path'])(
  '%s does not name another path',
  (name) => {
    expect(clientsOwn(build([[name, '/api/admin']]))).toEqual([]);
  },
);

describe('Authorization', () => {
  const bearer = [...IDENTITY, 'Authorization', 'Bearer gho_x'];

  test.each(['Authorization', 'authorization', 'AUTHORIZATION'])('%s gives way to the token', (name) => {
    const sent: Header[] = [
      [name, 'Bearer mine'],
      [name, 'Basic eA=='],
    ];
    const built = build(sent, { identity: bearer, replacesAuthorization: true });
    expect(valuesOf(built, 'authorization')).toEqual(['Bearer gho_x']);
  });

  test('is the client’s own where no token takes its place', () => {
    expect(valuesOf(build([['Authorization', 'Basic eA==']]), 'authorization')).toEqual(['Basic eA==']);
  });
});

describe('cookies', () => {
  test('of ours stay here, the others go on byte for byte and in order', () => {
    const header =
      'b="x y"; __Secure-better-auth.session_token=t; a=%zz; better-auth.session_data.0=d; better-auth.state=s; c==';
    expect(valuesOf(build([['Cookie', header]]), 'cookie')).toEqual(['b="x y"; a=%zz; c==']);
  });

  test('are left out when none is left', () => {
    expect(valuesOf(build([['Cookie', 'better-auth.session_token=t']]), 'cookie')).toEqual([]);
  });

  test('of ours are found on every line', () => {
    const built = build([
      ['Cookie', 'a=1'],
      ['cookie', 'better-auth.admin_session=x; b=2'],
    ]);
    expect(valuesOf(built, 'cookie')).toEqual(['a=1', 'b=2']);
  });

  test('that an upstream may read go on, account_data does not', () => {
    const keptCookies = new Set<OwnCookie>(['session_token', 'session_data']);
    const header = 'better-auth.session_token=t; better-auth.account_data=x; a=1';
    expect(valuesOf(build([['Cookie', header]], { keptCookies }), 'cookie')).toEqual([
      'better-auth.session_token=t; a=1',
    ]);
  });
});

test.each([
  [true, ['5']],
  [false, []],
])('a length is announced for a body alone (%s)', (hasBody, lengths) => {
  expect(valuesOf(build([['Content-Length', '5']], { hasBody }), 'content-length')).toEqual(lengths);
});

test('Expect is answered here and not passed on', () => {
  expect(clientsOwn(build([['Expect', '100-continue']]))).toEqual([]);
});

test('changes nothing of what it was given', () => {
  const rawHeaders = Object.freeze(['Connection', 'x-a', 'X-A', '1', 'Cookie', 'better-auth.state=x; b=1']);
  expect(() =>
    buildRequestHeaders({
      rawHeaders,
      origin: { forwardedFor: 'x', proto: 'https', host: 'x', port: '443', trusted: false, forwarded: null },
      requestId: 'x',
      host: 'x',
      replacesAuthorization: false,
      keptCookies: new Set(),
      hasBody: false,
    }),
  ).not.toThrow();
});

describe('what a proxy in front tells', () => {
  const told: Header[] = [
    ['X-Real-IP', '203.0.113.9'],
    ['True-Client-IP', '203.0.113.9'],
    ['CF-Connecting-IP', '203.0.113.9'],
    ['cf-ray', 'x'],
  ];
  const origin = { forwardedFor: '203.0.113.9', proto: 'https', host: 'hub.example.com', port: '443' };

  test('goes on when the proxy is trusted, and not in another spelling', () => {
    const sent: Header[] = [...told, ['X_Real_IP', 'x'], ['CF_Connecting.IP', 'x']];
    expect(clientsOwn(build(sent, { origin: { ...origin, trusted: true, forwarded: null } }))).toEqual(told);
  });

  test('stays here when it is not', () => {
    expect(clientsOwn(build(told, { origin: { ...origin, trusted: false, forwarded: null } }))).toEqual([]);
    expect(clientsOwn(build(told))).toEqual([]);
  });
});

test('Forwarded is the gateway’s own, where it is sent at all', () => {
  const origin = {
    forwardedFor: 'x',
    proto: 'https',
    host: 'x',
    port: '443',
    forwarded: 'for=203.0.113.9',
    trusted: true,
  };
  const sent: Header[] = [['Forwarded', 'for=forged']];
  expect(valuesOf(build(sent, { origin }), 'forwarded')).toEqual(['for=203.0.113.9']);
  expect(
    valuesOf(build(sent, { origin: { ...origin, forwarded: null, trusted: true } }), 'forwarded'),
  ).toEqual([]);
});
