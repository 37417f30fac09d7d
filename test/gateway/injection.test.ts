import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, cookieHeader, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { send } from '../support/send.ts';

const CONFIG = `
upstreams:
  none: { targets: ["\${UPSTREAM}"] }
  forwarded: { targets: ["\${UPSTREAM}"], githubToken: forwarded }
  bearer: { targets: ["\${UPSTREAM}"], githubToken: bearer }
  remote: { targets: ["\${UPSTREAM}"], identity: remote, githubToken: forwarded }
  silent: { targets: ["\${UPSTREAM}"], identity: none }
  passing: { targets: ["\${UPSTREAM}"], cookies: pass }
routes:
  - { path: /public/**, upstream: forwarded, access: public }
  - { path: /public-bearer/**, upstream: bearer, access: public }
  - { path: /optional/**, upstream: forwarded, access: optional }
  - { path: /none/**, upstream: none, access: session }
  - { path: /forwarded/**, upstream: forwarded, access: session }
  - { path: /bearer/**, upstream: bearer, access: session }
  - { path: /remote/**, upstream: remote, access: session }
  - { path: /silent/**, upstream: silent, access: session }
  - { path: /passing/**, upstream: passing, access: session }
trustedProxies: [127.7.7.7]
`;

let gateway: TestGateway;
let client: Client;
let login: string;
beforeAll(async () => {
  gateway = await startTestGateway({ config: CONFIG });
  ({ login } = addPerson(gateway.github));
  ({ client } = await signInWithGitHub(gateway, login));
});
afterAll(() => gateway.close());

type Pairs = [name: string, value: string][];

/** What the upstream was sent, as names and values, for a request with exactly these headers. */
async function seenBy(path: string, headers: readonly string[], from?: string): Promise<Pairs> {
  const before = gateway.upstream.seen.length;
  const response = await send(`${gateway.url}${path}`, { headers, from });
  expect(response.status, await response.clone().text()).toBe(200);
  const { rawHeaders } = gateway.upstream.seen[before] ?? { rawHeaders: [] };
  return rawHeaders.flatMap((name, at) =>
    at % 2 === 0 ? [[name, rawHeaders[at + 1] as string] as [string, string]] : [],
  );
}

const valuesOf = (pairs: Pairs, name: string) =>
  pairs.filter(([each]) => each.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
const cookie = () => ['cookie', cookieHeader(client.cookies)];

const PROTECTED = [
  'X-Forwarded-User',
  'X-Forwarded-Email',
  'X-Forwarded-Preferred-Username',
  'X-Forwarded-Groups',
  'X-Forwarded-Access-Token',
  'Remote-User',
  'Remote-Email',
  'Remote-Name',
  'Remote-Groups',
  'X-Auth-Request-User',
  'X-Auth-Request-Access-Token',
  'X-Auth-Request-Anything',
  'X-Gateway-Scopes',
  'X-Gateway-Session',
  'X-Gateway-Impersonated-By',
  'X-Gateway-Anything',
];
const spellings = (name: string) => [
  name,
  name.toLowerCase(),
  name.toUpperCase(),
  name.replaceAll('-', '_'),
  name.replaceAll('-', '.'),
  name.replace('-', '_'),
  name.toLowerCase().replace(/-([^-]*)$/, '_$1'),
  name.toUpperCase().replaceAll('-', '_'),
  name.replaceAll('-', '~'),
];

describe('spoofed identity headers', () => {
  const lies = PROTECTED.flatMap((name) => spellings(name).flatMap((each) => [each, 'spoofed', each, '']));
  const ways: [string, () => string[]][] = [
    ['/public/x', () => []],
    ['/public/x', cookie],
    ['/public-bearer/x', cookie],
    ['/optional/x', () => []],
    ['/optional/x', cookie],
    ['/none/x', cookie],
    ['/forwarded/x', cookie],
    ['/remote/x', cookie],
    ['/silent/x', cookie],
  ];
  test.each(ways)('never reach the upstream of %s', async (path, credentials) => {
    // In portions: a header block may have 32 KB.
    for (let at = 0; at < lies.length; at += 100) {
      const pairs = await seenBy(path, [...credentials(), ...lies.slice(at, at + 100)]);
      expect(pairs.filter(([, value]) => value === 'spoofed' || value === '')).toEqual([]);
    }
  });

  test('are absent for anonymous callers, and exactly one value, ours, for the others', async () => {
    const names = PROTECTED.map((name) => name.toLowerCase());
    for (const path of ['/public/x', '/optional/x']) {
      const pairs = await seenBy(path, lies.slice(0, 60));
      expect(pairs.filter(([name]) => names.includes(name.toLowerCase()))).toEqual([]);
    }
    const own = await seenBy('/forwarded/x', [...cookie(), ...lies.slice(0, 60)]);
    expect(valuesOf(own, 'x-forwarded-preferred-username')).toEqual([login]);
    expect(valuesOf(own, 'x-forwarded-user')).toHaveLength(1);
    expect(valuesOf(own, 'x-forwarded-email')).toEqual([`${login}@example.net`]);
    expect(valuesOf(own, 'x-forwarded-groups')).toEqual(['user']);
  });

  test('are not brought in, nor ours thrown out, by a Connection header', async () => {
    const plain = await seenBy('/forwarded/x', cookie());
    const nominated = PROTECTED.join(', ');
    const pairs = await seenBy('/forwarded/x', [
      ...cookie(),
      'Connection',
      nominated,
      'connection',
      'x-request-id, x-forwarded-for, cookie, X-Mine',
      'X-Mine',
      'dropped',
      'X-Forwarded-User',
      'spoofed',
    ]);
    const namesOf = (list: Pairs) => list.map(([name]) => name.toLowerCase()).sort();
    expect(namesOf(pairs).filter((name) => name !== 'connection')).toEqual(
      namesOf(plain).filter((name) => name !== 'connection'),
    );
    expect(valuesOf(pairs, 'x-forwarded-user')).toEqual(valuesOf(plain, 'x-forwarded-user'));
    expect(valuesOf(pairs, 'x-mine')).toEqual([]);
  });
});

describe('the identity an upstream is told', () => {
  test('has the names of its preset', async () => {
    const remote = await seenBy('/remote/x', cookie());
    expect(valuesOf(remote, 'remote-name')).toEqual([login]);
    expect(valuesOf(remote, 'remote-email')).toEqual([`${login}@example.net`]);
    expect(valuesOf(remote, 'x-forwarded-user')).toEqual([]);
    const silent = await seenBy('/silent/x', cookie());
    expect(
      silent.filter(([name]) => /user|email|groups|x-gateway/i.test(name)).map(([name]) => name),
    ).toEqual(silent.filter(([name]) => /^user-agent$/i.test(name)).map(([name]) => name));
  });

  test('has the request id of the answer, and a session name that is neither token nor id', async () => {
    const response = await client.fetch('/forwarded/x', { headers: { 'x-request-id': 'chosen-by-client' } });
    const { headers } = (await response.json()) as { headers: Record<string, string> };
    expect(headers['x-request-id']).toBe(response.headers.get('x-request-id'));
    expect(headers['x-request-id']).not.toBe('chosen-by-client');
    const [row] = await gateway.store.query<{ id: string; token: string }>(
      `select s.id, s.token from session s where s."userId" = $1`,
      headers['x-forwarded-user'] ?? '',
    );
    expect(headers['x-gateway-session']).toMatch(/^[\w-]{20,}$/);
    for (const secret of [row?.id, row?.token]) expect(headers['x-gateway-session']).not.toContain(secret);
  });

  test('is safe to read whatever a person calls themselves', async () => {
    const named = addPerson(gateway.github, {
      emails: [{ email: 'Ünï+x@example.net', primary: true, verified: true, visibility: null }],
    });
    const { client: other } = await signInWithGitHub(gateway, named.login);
    const pairs = await seenBy('/forwarded/x', ['cookie', cookieHeader(other.cookies)]);
    const [email = ''] = valuesOf(pairs, 'x-forwarded-email');
    expect(email).toMatch(/^[\x20-\x7e]+$/);
    expect(decodeURIComponent(email)).toBe('ünï+x@example.net');
  });
});

describe('the GitHub token', () => {
  const tokensIn = (pairs: Pairs) =>
    pairs.filter(([, value]) => /gh[opu]_/.test(value)).map(([name]) => name);

  test('goes only where the configuration says, in the form it says', async () => {
    expect(tokensIn(await seenBy('/forwarded/x', cookie()))).toEqual(['X-Forwarded-Access-Token']);
    expect(tokensIn(await seenBy('/remote/x', cookie()))).toEqual(['X-Forwarded-Access-Token']);
    expect(tokensIn(await seenBy('/bearer/x', cookie()))).toEqual(['Authorization']);
    for (const path of ['/none/x', '/silent/x', '/public/x', '/public-bearer/x', '/passing/x'])
      expect(tokensIn(await seenBy(path, cookie())), path).toEqual([]);
  });

  test("takes the place of the client's Authorization on bearer upstreams; elsewhere that passes unchanged", async () => {
    const theirs = ['Authorization', 'Basic dXNlcjpwYXNz', 'Proxy-Authorization', 'Basic eDp5'];
    const bearer = await seenBy('/bearer/x', [...cookie(), ...theirs]);
    expect(valuesOf(bearer, 'authorization')).toEqual([expect.stringMatching(/^Bearer gho_\w+$/)]);
    for (const path of ['/forwarded/x', '/none/x', '/public/x', '/optional/x', '/public-bearer/x']) {
      const pairs = await seenBy(path, [...cookie(), ...theirs]);
      expect(valuesOf(pairs, 'authorization'), path).toEqual(['Basic dXNlcjpwYXNz']);
      expect(valuesOf(pairs, 'proxy-authorization'), path).toEqual([]);
    }
  });

  test.each([
    ['changed', `'v1.s-xxxxxxxx.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA.AAAA'`],
    ['in plaintext', `'gho_plaintext'`],
    ['absent', 'null'],
  ])('that is stored %s goes nowhere: the person signs in again', async (_state, stored) => {
    const person = addPerson(gateway.github);
    const { client: other } = await signInWithGitHub(gateway, person.login);
    await gateway.store.query(
      `update account set "accessToken" = ${stored} where "accountId" = $1`,
      String(person.id),
    );
    const before = gateway.upstream.seen.length;
    const response = await other.fetch('/forwarded/x?y=1');
    expect([response.status, await response.json()]).toEqual([
      401,
      expect.objectContaining({
        code: 'reauth-required',
        reauthUrl: expect.stringContaining(encodeURIComponent('/forwarded/x?y=1')),
      }),
    ]);
    expect(gateway.upstream.seen.length).toBe(before);
    expect((await other.fetch('/none/x')).status).toBe(200);
  });
});

describe('cookies', () => {
  const THEIRS = [
    'theirs=1',
    'b="quoted; no"',
    'session_token=other',
    'x=better-auth.session_token',
    'empty=',
  ];

  test('of ours stay behind; the others arrive byte for byte and in order', async () => {
    const ours = [
      `better-auth.session_token=${client.cookies.get('better-auth.session_token')}`,
      'better-auth.session_data=a',
      'better-auth.session_data.0=b',
      'better-auth.session_data.11=c',
      'better-auth.account_data=d',
      'better-auth.account_data.1=d',
      'better-auth.dont_remember=e',
      'better-auth.admin_session=f',
      'better-auth.state=g',
      'better-auth.oauth_state=h',
      '__Secure-better-auth.session_token=i',
      '__Secure-better-auth.session_data.2=j',
    ];
    const mixed = ours.flatMap((each, at) => [each, ...(THEIRS[at] ? [THEIRS[at]] : [])]).join('; ');
    for (const path of ['/none/x', '/optional/x', '/public/x']) {
      const pairs = await seenBy(path, ['Cookie', mixed]);
      expect(valuesOf(pairs, 'cookie'), path).toEqual([THEIRS.join('; ')]);
    }
    const alone = await seenBy('/none/x', ['Cookie', ours.join('; ')]);
    expect(valuesOf(alone, 'cookie')).toEqual([]);
  });

  test('of the session go up with cookies: pass, the account cookie and the state never', async () => {
    const own = cookieHeader(client.cookies);
    const pairs = await seenBy('/passing/x', [
      'Cookie',
      `${own}; better-auth.account_data=d; better-auth.state=g; better-auth.oauth_state=h; a=b`,
    ]);
    const [header = ''] = valuesOf(pairs, 'cookie');
    expect(header).toContain(`better-auth.session_token=${client.cookies.get('better-auth.session_token')}`);
    expect(header).toContain('a=b');
    expect(header).not.toMatch(/account_data|state/);
  });

  test('of ours are set by no upstream, others are, all of them and in order', async () => {
    const own = ['session_token', 'session_data', 'session_data.0', 'account_data', 'admin_session', 'state'];
    const lines = [
      'a=1; Path=/',
      ...own.map((name) => `better-auth.${name}=evil`),
      'b=2; HttpOnly',
      ...own.map((name) => `__Secure-better-auth.${name}=evil; Secure`),
      'A=3',
    ];
    gateway.upstream.respond((_request, response) => response.setHeader('set-cookie', lines).end('ok'));
    try {
      for (const path of ['/none/x', '/public/x', '/passing/x']) {
        const response = await send(`${gateway.url}${path}`, { headers: cookie() });
        expect(response.headers.getSetCookie(), path).toEqual(['a=1; Path=/', 'b=2; HttpOnly', 'A=3']);
      }
    } finally {
      gateway.upstream.respond(undefined);
    }
  });
});

describe('where a request came from', () => {
  const claims = [
    'X-Forwarded-For',
    '203.0.113.5',
    'X-Forwarded-Proto',
    'https',
    'X-Forwarded-Host',
    'evil.example',
    'X-Forwarded-Port',
    '444',
    'X-Real-IP',
    '203.0.113.6',
    'Forwarded',
    'for=203.0.113.7',
    'CF-Connecting-IP',
    '203.0.113.8',
    'True-Client-IP',
    '203.0.113.8',
    'X-Original-URL',
    '/public/x',
    'X-Rewrite-URL',
    '/public/x',
    'x_forwarded_for',
    '203.0.113.9',
  ];
  const told = (pairs: Pairs) => ({
    for: valuesOf(pairs, 'x-forwarded-for'),
    proto: valuesOf(pairs, 'x-forwarded-proto'),
    host: valuesOf(pairs, 'x-forwarded-host'),
    port: valuesOf(pairs, 'x-forwarded-port'),
  });

  test('is told from the socket; what an untrusted client claims is dropped', async () => {
    const pairs = await seenBy('/public/x', claims, '127.3.3.3');
    const { host, port } = new URL(gateway.url);
    expect(told(pairs)).toEqual({ for: ['127.3.3.3'], proto: ['http'], host: [host], port: [port] });
    expect(pairs.filter(([, value]) => /203\.0\.113|evil|for=|\/public/.test(value))).toEqual([]);
  });

  test('is taken from a trusted proxy, which is added to the chain', async () => {
    const pairs = await seenBy('/public/x', claims, '127.7.7.7');
    expect(told(pairs)).toEqual({
      for: ['203.0.113.5, 127.7.7.7'],
      proto: ['https'],
      host: ['evil.example'],
      port: [expect.any(String)],
    });
    for (const name of ['x-real-ip', 'forwarded', 'cf-connecting-ip', 'x-original-url', 'x-rewrite-url'])
      expect(valuesOf(pairs, name), name).toEqual([]);
  });

  test("the upstream's own host stands in Host", async () => {
    const pairs = await seenBy('/public/x', []);
    expect(valuesOf(pairs, 'host')).toEqual([new URL(gateway.upstream.url).host]);
  });

  test('a request id is taken from a trusted proxy only', async () => {
    const ids: string[][] = [];
    for (const from of ['127.7.7.7', '127.3.3.3'])
      ids.push(
        valuesOf(await seenBy('/public/x', ['X-Request-Id', `given-to-${from}`], from), 'x-request-id'),
      );
    expect(ids).toEqual([['given-to-127.7.7.7'], [expect.stringMatching(/^[0-9a-f-]{36}$/)]]);
  });
});
