import { describe, expect, test } from 'vitest';
import { fold, requestVerdict, responseVerdict } from '../../src/forwarding/header-names.ts';

/** Names of all presets, and the families, that only the gateway may send. */
const IDENTITY = [
  ...['X-Forwarded-User', 'X-Forwarded-Email', 'X-Forwarded-Preferred-Username', 'X-Forwarded-Groups'],
  ...['X-Forwarded-Access-Token', 'Remote-User', 'Remote-Email', 'Remote-Name', 'Remote-Groups'],
  ...[
    'X-Auth-Request-User',
    'X-Auth-Request-Email',
    'X-Auth-Request-Access-Token',
    'X-Auth-Request-Anything',
  ],
  ...['X-Gateway-Scopes', 'X-Gateway-Session', 'X-Gateway-Impersonated-By', 'X-Gateway-Intercepted-Response'],
  ...['X-Gateway-Anything-Else', 'X-Request-Id'],
];

/** Where a request comes from and which path it asks for: known to the gateway, not to the client. */
const ORIGIN = [
  ...['X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Forwarded-Port', 'X-Forwarded-Server'],
  ...['Forwarded', 'X-Client-IP', 'X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override'],
  ...['X-Original-URL', 'X-Rewrite-URL', 'X-Forwarded-Uri', 'X-Forwarded-Prefix', 'X-Forwarded-Path'],
];

const HOP_BY_HOP = [
  ...['Keep-Alive', 'Proxy-Authenticate', 'Proxy-Authorization', 'Proxy-Connection', 'TE', 'Trailer'],
  ...['Transfer-Encoding', 'Upgrade'],
];

/** What PHP, WSGI and CGI take for the same name: each other mark for `-`, one by one and mixed; any case. */
function spellings(name: string): string[] {
  const joined = ['-', '_', '.', ' '].map((mark) => name.replaceAll('-', mark));
  let at = 0;
  const mixed = name.replace(/-/g, () => ['_', '.', '-'][at++ % 3] ?? '-');
  const alternating = [...name].map((letter, i) => (i % 2 ? letter.toUpperCase() : letter.toLowerCase()));
  return [...new Set([...joined, mixed, alternating.join('')])].flatMap((each) => [
    each,
    each.toLowerCase(),
    each.toUpperCase(),
  ]);
}

test.each([...IDENTITY, ...ORIGIN])('a client’s own %s does not go up, however it is spelled', (name) => {
  expect(spellings(name).filter((spelling) => requestVerdict(spelling) !== 'drop')).toEqual([]);
});

test.each(['X-Real-IP', 'True-Client-IP', 'CF-Connecting-IP', 'CF-Ray', 'cf-ipcountry'])(
  '%s is for a trusted proxy to tell, in this spelling alone',
  (name) => {
    expect(requestVerdict(name)).toBe('proxy');
    expect(requestVerdict(name.replaceAll('-', '_'))).toBe('drop');
    expect(requestVerdict(name.replaceAll('-', '.'))).toBe('drop');
  },
);

test.each(['x-user_id', 'X.User.Id', 'X-Forwarded', 'X-Forwarded-Users', 'Remote-Users', 'X-Auth-Requests'])(
  '%s is nobody’s',
  (name) => {
    expect(requestVerdict(name)).toBe('keep');
  },
);

test.each([
  ...['Accept', 'Content-Type', 'User-Agent', 'X-CSRF-Token', 'If-None-Match', 'Range'],
  ...[
    'Origin',
    'Referer',
    'Sec-Fetch-Site',
    'traceparent',
    'X_Custom.Name',
    '__proto__',
    'constructor',
    'toString',
  ],
])('a client’s own %s goes up', (name) => {
  expect(requestVerdict(name)).toBe('keep');
});

test.each([
  ['Cookie', 'cookie'],
  ['COOKIE', 'cookie'],
  ['Authorization', 'authorization'],
  ['authorization', 'authorization'],
  ['Content-Length', 'content-length'],
  ['Connection', 'connection'],
])('%s is looked into', (name, verdict) => {
  expect(requestVerdict(name)).toBe(verdict);
});

test.each([
  'Content_Length',
  'content.length',
  'Transfer_Encoding',
  'Proxy_Authorization',
  'Proxy.Connection',
])('a look-alike of a header of the connection does not go up: %s', (name) => {
  expect(requestVerdict(name)).toBe('drop');
});

test.each(['Proxy', 'PROXY', 'proxy'])('%s does not become HTTP_PROXY in a CGI program', (name) => {
  expect(requestVerdict(name)).toBe('drop');
});

describe.each(HOP_BY_HOP)('%s', (name) => {
  test.each([name, name.toLowerCase(), name.toUpperCase()])(
    'stays on its own connection as %s',
    (spelling) => {
      expect(requestVerdict(spelling)).toBe('drop');
      expect(responseVerdict(spelling)).toBe('drop');
    },
  );
});

test('Connection itself goes in neither direction', () => {
  expect(responseVerdict('Connection')).toBe('connection');
  expect(requestVerdict('Connection')).toBe('connection');
});

test.each(['Content-Type', 'Set-Cookie', 'ETag', 'WWW-Authenticate', '__proto__', 'constructor'])(
  '%s of an answer goes down',
  (name) => {
    expect(responseVerdict(name)).not.toMatch(/drop|connection/);
  },
);

test('a name is judged the same after thousands of others', () => {
  for (let at = 0; at < 5_000; at++) expect(requestVerdict(`X-Custom-${at}`)).toBe('keep');
  expect(requestVerdict('x_forwarded.user')).toBe('drop');
  expect(requestVerdict('X-Gateway_Late')).toBe('drop');
  expect(requestVerdict('X-Custom-4999')).toBe('keep');
});

test.each([
  ['X-Forwarded-User', 'x-forwarded-user'],
  ['X_Forwarded.User', 'x-forwarded-user'],
  ['x forwarded~user', 'x-forwarded-user'],
  ['X--User', 'x--user'],
])('%s is compared as %s', (name, folded) => {
  expect(fold(name)).toBe(folded);
});
