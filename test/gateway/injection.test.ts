import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Client, cookieHeader, createClient, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { pick, randomFrom } from '../support/random.ts';
import { requestText, sendBytes } from '../support/raw-socket.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { send, sendRaw } from '../support/send.ts';
import type { SeenRequest } from '../support/upstream.ts';

const CONFIG = `
upstreams:
  plain: { targets: ["\${UPSTREAM}"] }
  forwarded: { targets: ["\${UPSTREAM}"], githubToken: forwarded }
  bearer: { targets: ["\${UPSTREAM}"], githubToken: bearer }
  remote: { targets: ["\${UPSTREAM}"], identity: remote, githubToken: forwarded }
  silent: { targets: ["\${UPSTREAM}"], identity: none }
  passing: { targets: ["\${UPSTREAM}"], cookies: pass }
  setting: { targets: ["\${UPSTREAM}"], setCookies: pass }
routes:
  - { path: /public/**, upstream: plain, access: public }
  - { path: /public-forwarded/**, upstream: forwarded, access: public }
  - { path: /public-bearer/**, upstream: bearer, access: public }
  - { path: /optional/**, upstream: forwarded, access: optional }
  - { path: /plain/**, upstream: plain }
  - { path: /forwarded/**, upstream: forwarded }
  - { path: /bearer/**, upstream: bearer }
  - { path: /remote/**, upstream: remote }
  - { path: /silent/**, upstream: silent }
  - { path: /passing/**, upstream: passing }
  - { path: /setting/**, upstream: setting }
  - { path: /cut/here/**, upstream: plain, access: public, stripPrefix: /cut/here }
trustedProxies: ["\${PROXY:-192.0.2.1}"]
`;

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ stores: 'postgres', config: CONFIG });
});
afterAll(() => gateway.close());

const signedIn = async (login = addPerson(gateway.github).login) =>
  (await signInWithGitHub(gateway, login)).client;
const lastSeen = () => gateway.upstream.seen.at(-1) as SeenRequest;
/** `X_Forwarded.User` and `x-forwarded-user` are one name to CGI, WSGI and PHP. */
const fold = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '-');
const pairs = ({ rawHeaders }: SeenRequest) =>
  rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [[name, rawHeaders[at + 1] ?? ''] as const] : []));
/** Every value the upstream could take for this header. */
const valuesOf = (seen: SeenRequest, name: string) =>
  pairs(seen).flatMap(([each, value]) => (fold(each) === fold(name) ? [value] : []));
const sessionIds = async (client: Client) =>
  (await client.json<{ session: { userId: string } }>('/api/auth/get-session')).session;

const PROTECTED = [
  ...['User', 'Email', 'Preferred-Username', 'Groups', 'Access-Token'].map((each) => `X-Forwarded-${each}`),
  ...['User', 'Email', 'Name', 'Groups'].map((each) => `Remote-${each}`),
  ...['Scopes', 'Session', 'Impersonated-By', 'Anything'].map((each) => `X-Gateway-${each}`),
  ...['User', 'Email', 'Preferred-Username', 'Groups', 'Access-Token', 'Redirect'].map(
    (each) => `X-Auth-Request-${each}`,
  ),
];
/** Every mark that may stand in a name in the place of each `-`. */
const marked = (name: string, marks: readonly string[]): string[] =>
  name
    .split('-')
    .map((word) => [word])
    .reduce((left, right) => left.flatMap((a) => marks.flatMap((mark) => right.map((b) => a + mark + b))));
const spellings = (name: string) => [
  ...scale({ quick: [], full: marked(name, ['-', '_', '.', '~', '+']) }),
  name,
  name.toLowerCase(),
  name.toUpperCase(),
  name.replaceAll('-', '_'),
  name.replaceAll('-', '_').toUpperCase(),
  name.replaceAll('-', '.'),
  name.replace('-', '_'),
  name.replace(/-([^-]*)$/, '_$1'),
  name.replaceAll('-', '~'),
  name.replaceAll('-', '+'),
];

describe('identity headers a client sends', () => {
  let client: Client;
  let anonymous: Client;
  let own: Record<string, string[]>;
  beforeAll(async () => {
    client = await signedIn();
    anonymous = createClient(gateway.url);
    const { userId } = await sessionIds(client);
    await client.curl('/forwarded/x');
    const ofOurs = (name: string) => valuesOf(lastSeen(), name);
    own = Object.fromEntries(PROTECTED.map((name) => [name, ofOurs(name)]));
    expect(own['X-Forwarded-User']).toEqual([userId]);
    expect(own['X-Forwarded-Access-Token']).toEqual([expect.stringMatching(/^gho_/)]);
  });

  const visits = [
    ['a public route, anonymous', '/public/x', () => anonymous, []],
    ['a public route, signed in', '/public/x', () => client, []],
    ['a public route of an upstream that gets tokens', '/public-forwarded/x', () => client, []],
    ['an optional route, anonymous', '/optional/x', () => anonymous, []],
    ['an optional route, signed in', '/optional/x', () => client, PROTECTED],
    ['a session route', '/forwarded/x', () => client, PROTECTED],
    ['a session route without a token', '/plain/x', () => client, PROTECTED.filter((n) => !/Token/.test(n))],
    ['a session route that announces nobody', '/silent/x', () => client, []],
  ] as const;

  test.for(visits)(
    'never reach %s: only ours do, once each',
    UNHURRIED,
    async ([, path, visitor, announced], context) => {
      let tried = 0;
      let seenUpstream = 0;
      for (const name of PROTECTED) {
        const all = spellings(name).flatMap((each) => [each, 'spoofed', each, 'spoofed-again', each, '']);
        for (const headers of [all, [name, 's'.repeat(8192)], ['Remote-User', '', name, '']]) {
          const response = await visitor().curl(path, { headers });
          expect(response.status, name).toBe(200);
          tried += headers.length / 2;
          const seen = lastSeen();
          for (const each of PROTECTED) {
            const expected = (announced as readonly string[]).includes(each) ? own[each] : [];
            const values = valuesOf(seen, each);
            if (JSON.stringify(values) !== JSON.stringify(expected)) seenUpstream++;
            expect(values, `${each} when ${name} was sent`).toEqual(expected);
          }
          expect(seen.rawHeaders.join('\n')).not.toMatch(/spoofed|ssss/);
        }
      }
      report(context, { 'identity spoofs: tried': tried, 'identity spoofs: seen upstream': seenUpstream });
      expect(tried).toBeGreaterThan(500);
    },
  );

  test.each(['X Forwarded User', 'X-Forwarded-User ', 'X-F\u00f6rwarded-User', 'X-Forwarded-User\t', ''])(
    'under the impossible name %j are answered 400',
    async (name) => {
      const before = gateway.upstream.seen.length;
      const answer = await sendBytes(gateway.url, requestText('/public/x', [`${name}: spoofed`]));
      expect(answer.status).toBe(400);
      expect(gateway.upstream.seen.length).toBe(before);
    },
  );

  test('as trailers are not seen either', async (context) => {
    const trailers: string[] = [];
    gateway.upstream.respond((request, response) => {
      request.resume().once('end', () => {
        trailers.push(...request.rawTrailers);
        response.end();
      });
    });
    let tried = 0;
    for (const path of ['/public/x', '/optional/x', '/forwarded/x'])
      for (const name of PROTECTED) {
        const session = `Cookie: ${cookieHeader(client.cookies)}`;
        const head = [session, 'Transfer-Encoding: chunked', `Trailer: ${name}`];
        const fields = spellings(name).map((each) => `${each}: spoofed\r\n`);
        const body = `3\r\nabc\r\n0\r\n${fields.join('')}\r\n`;
        const answer = await sendBytes(gateway.url, requestText(path, head, 'POST') + body);
        expect(answer.status).toBe(200);
        expect(lastSeen().rawHeaders.join('\n')).not.toContain('spoofed');
        tried += fields.length;
      }
    gateway.upstream.respond(undefined);
    report(context, {
      'identity spoofs: tried': tried,
      'identity spoofs: seen upstream': trailers.length / 2,
    });
    expect(trailers).toEqual([]);
  });

  test('that steer routers and proxies behind us stay here', async () => {
    const names = [
      ...['X-Original-URL', 'X-Rewrite-URL', 'X-Forwarded-Uri', 'X-Forwarded-Prefix', 'X-Forwarded-Path'],
      ...['X-Original_URL', 'x.rewrite.url', 'CF-Connecting-IP', 'True-Client-IP', 'X-Client-IP', 'Proxy'],
    ];
    for (const name of names) {
      expect((await anonymous.curl('/public/x', { headers: [name, '/forwarded/x'] })).status).toBe(200);
      expect(valuesOf(lastSeen(), name), name).toEqual([]);
      expect(lastSeen().url).toBe('/public/x');
    }
  });
});

describe('cookies on their way up', () => {
  const kinds = [
    ...['session_token', 'session_data', 'session_data.0', 'session_data.12', 'account_data'],
    ...['account_data.1', 'dont_remember', 'admin_session', 'state', 'oauth_state'],
  ];
  const ours = kinds.flatMap((kind) =>
    ['', '__Secure-', '__Host-', '__secure-'].flatMap((prefix) => [
      `${prefix}better-auth.${kind}`,
      `${prefix}BETTER-AUTH.${kind.toUpperCase()}`,
    ]),
  );
  const others = [
    ...['a=1', 'b="x y"', 'c=%zz%2', '__proto__=1', 'n=voil\u00c3\u00a0', 'better-auth.theme=x', 'e='],
    ...['session_token=theirs', 'xbetter-auth.session_token=theirs', 'bare', 'j={"a":[1,2]}', 's=a=b==c'],
    ...['better-auth.session_tokens=x', 'a=2', 'constructor=1'],
  ];

  test.each(['/public/x', '/plain/x', '/optional/x'])(
    'to %s: ours are gone in every spelling, the others are unchanged and in order',
    async (path) => {
      const session = cookieHeader((await signedIn()).cookies);
      let tried = 0;
      for (const name of ours) {
        if (name === 'better-auth.session_token' && path !== '/public/x') continue;
        const mixed = others.flatMap((each, at) => (at % 3 === 0 ? [`${name}=secret`, each] : [each]));
        const cookie = [session, ...mixed, `${name}=secret`].join('; ');
        expect((await send(`${gateway.url}${path}`, { headers: { cookie } })).status, name).toBe(200);
        expect(valuesOf(lastSeen(), 'cookie'), name).toEqual([others.join('; ')]);
        tried += 1;
      }
      expect(tried).toBeGreaterThanOrEqual(79);
    },
  );

  test('written with odd blanks and semicolons are cut out all the same', async () => {
    const cookie =
      ';; better-auth.session_token = x ;a=1;better-auth.state=y;  b=2 ;\tbetter-auth.session_data.0=z';
    await send(`${gateway.url}/public/x`, { headers: { cookie } });
    const [value = ''] = valuesOf(lastSeen(), 'cookie');
    expect(value.split(/;\s*/).filter(Boolean)).toEqual(['a=1', 'b=2']);
  });

  test('in several Cookie lines are cut out of each', async () => {
    const client = await signedIn();
    const headers = ['Cookie', 'a=1', 'Cookie', cookieHeader(client.cookies), 'Cookie', 'b=2'];
    expect((await send(`${gateway.url}/plain/x`, { headers })).status).toBe(200);
    expect(valuesOf(lastSeen(), 'cookie').join('; ')).toBe('a=1; b=2');
  });

  test('that are all ours leave no Cookie header behind', async () => {
    await (await signedIn()).curl('/plain/x');
    expect(valuesOf(lastSeen(), 'cookie')).toEqual([]);
  });

  test('with cookies: pass, session cookies go up and account_data and states do not', async () => {
    const client = await signedIn();
    const session = cookieHeader(client.cookies);
    expect(session).toMatch(/session_token=.*session_data/);
    const hidden = ['account_data', 'account_data.0', 'state', 'oauth_state'].map(
      (k) => `better-auth.${k}=x`,
    );
    const cookie = ['a=1', ...hidden, session, '__Secure-better-auth.account_data=x', 'b=2'].join('; ');
    expect((await send(`${gateway.url}/passing/x`, { headers: { cookie } })).status).toBe(200);
    expect(valuesOf(lastSeen(), 'cookie')).toEqual([`a=1; ${session}; b=2`]);
  });
});

describe('cookies an upstream sets', () => {
  const theirs = ['a=1; Path=/', 'b=2; HttpOnly; Secure', 'a=3', 'better-auth.theme=dark', 'session_token=x'];
  const session = [
    'better-auth.session_token=evil; Path=/',
    'Better-Auth.Session_Token=evil',
    '__Secure-better-auth.session_token=evil; Secure',
    'better-auth.session_data.0=evil; Domain=example.com',
    ' better-auth.dont_remember=evil',
    'better-auth.admin_session=evil; Max-Age=0',
  ];
  const never = [
    'better-auth.account_data=evil',
    'better-auth.account_data.3=evil',
    '__Host-better-auth.state=evil',
  ];
  const setByUpstream = async (path: string, lines: string[]) => {
    gateway.upstream.respond((_request, response) => {
      response.setHeader('set-cookie', lines).end();
    });
    const client = await signedIn();
    const { headers } = await sendRaw(`${gateway.url}${path}`, {
      headers: { cookie: cookieHeader(client.cookies) },
    });
    gateway.upstream.respond(undefined);
    return headers.filter((_, at) => at % 2 === 1 && headers[at - 1]?.toLowerCase() === 'set-cookie');
  };

  test('are kept, but none of ours', async () => {
    const lines = [...session, ...theirs, ...never, '=better-auth.session_token=evil'];
    expect(await setByUpstream('/plain/x', lines)).toEqual(theirs);
    expect(await setByUpstream('/public/x', lines)).toEqual(theirs);
    expect(await setByUpstream('/passing/x', lines)).toEqual(theirs);
  });

  test('with setCookies: pass are kept, session cookies too, but never account_data or a state', async () => {
    const set = await setByUpstream('/setting/x', [...session, ...theirs, ...never]);
    expect(set.map((line) => line.trim())).toEqual([...session, ...theirs].map((line) => line.trim()));
  });
});

describe('Authorization', () => {
  const basic = 'Basic dXNlcjpwYXNz';

  test.each([
    '/public/x',
    '/public-bearer/x',
    '/public-forwarded/x',
    '/plain/x',
    '/forwarded/x',
    '/silent/x',
  ])('of the client passes unchanged to %s', async (path) => {
    const client = await signedIn();
    for (const value of [basic, 'Bearer  a.b.c', 'token gho_theirs', '']) {
      await client.curl(path, { headers: ['authorization', value] });
      expect(valuesOf(lastSeen(), 'authorization')).toEqual([value]);
    }
  });

  test('is the GitHub token on an upstream that wants it as bearer, and nothing else', async () => {
    const client = await signedIn();
    const variants = [
      [],
      ['Authorization', basic],
      ['authorization', basic, 'AUTHORIZATION', 'Bearer theirs'],
      ['Authorization', ''],
      ['X-Authorization', basic, 'Authorization_', basic],
      ['Connection', 'authorization', 'Authorization', basic],
    ];
    for (const headers of variants) {
      await client.curl('/bearer/x', { headers });
      expect(valuesOf(lastSeen(), 'authorization')).toEqual([expect.stringMatching(/^Bearer gho_\w+$/)]);
      expect(valuesOf(lastSeen(), 'x-forwarded-access-token')).toEqual([]);
    }
  });

  test('is no credential for us', async () => {
    const client = await signedIn();
    await client.curl('/bearer/x');
    const [token = ''] = valuesOf(lastSeen(), 'authorization');
    const response = await send(`${gateway.url}/plain/x`, { headers: { authorization: token } });
    expect(response.status).toBe(401);
  });

  test('for proxies ends here', async () => {
    const client = await signedIn();
    for (const path of ['/public/x', '/plain/x', '/bearer/x']) {
      await client.curl(path, { headers: ['Proxy-Authorization', basic, 'proxy_authorization', basic] });
      expect(valuesOf(lastSeen(), 'proxy-authorization'), path).toEqual([]);
    }
  });
});

describe('the GitHub token', () => {
  const routes = {
    '/public/x': false,
    '/public-forwarded/x': false,
    '/public-bearer/x': false,
    '/plain/x': false,
    '/silent/x': false,
    '/passing/x': false,
    '/setting/x': false,
    '/optional/x': true,
    '/forwarded/x': true,
    '/bearer/x': true,
    '/remote/x': true,
  };

  test('goes to the upstreams that are to have it, and to no other', async () => {
    const client = await signedIn();
    await client.curl('/forwarded/x');
    const [token = ''] = valuesOf(lastSeen(), 'x-forwarded-access-token');
    expect(token).toMatch(/^gho_\w{20,}$/);
    const user = await fetch(`${gateway.github.apiUrl}/user`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(user.status).toBe(200);
    for (const [path, has] of Object.entries(routes)) {
      expect((await client.curl(path)).status, path).toBe(200);
      const { url, rawHeaders } = lastSeen();
      expect([url, rawHeaders.filter((each) => each.includes(token)).length]).toEqual([path, has ? 1 : 0]);
    }
  });

  const faults = {
    'is changed': `update account set "accessToken" = "accessToken" || 'A' where "userId" = $1`,
    'is cut': `update account set "accessToken" = left("accessToken", 40) where "userId" = $1`,
    'names another key': `update account set "accessToken" = regexp_replace("accessToken", '^v1\\.[^.]+', 'v1.other') where "userId" = $1`,
    'is in plaintext': `update account set "accessToken" = 'gho_PLAINTEXTplaintextPLAINTEXTplaintext0' where "userId" = $1`,
    'is empty': `update account set "accessToken" = '' where "userId" = $1`,
    'is null': `update account set "accessToken" = null where "userId" = $1`,
    'has run out': `update account set "accessTokenExpiresAt" = now() - interval '1 second' where "userId" = $1`,
    'lost its account': `delete from account where "userId" = $1`,
  };
  test.each(Object.entries(faults))(
    'that %s is asked for again, and what is stored reaches no upstream',
    async (_name, statement) => {
      const { login } = addPerson(gateway.github);
      const client = await signedIn(login);
      const { userId } = await sessionIds(client);
      await gateway.store.query(statement, userId);
      const before = gateway.upstream.seen.length;
      for (const path of ['/forwarded/list?a=1&b=%20', '/bearer/list?a=1&b=%20', '/remote/list?a=1&b=%20']) {
        const response = await client.curl(path);
        const problem = await response.json();
        expect([response.status, problem]).toEqual([
          401,
          expect.objectContaining({
            code: 'reauth-required',
            reauthUrl: expect.stringContaining(`${gateway.url}/api/auth/sign-in/social?`),
          }),
        ]);
        expect(new URL(problem.reauthUrl).searchParams.get('callbackURL')).toBe(path);
        expect(response.headers.get('www-authenticate')).toMatch(/^Cookie realm="/);
        expect(response.headers.getSetCookie()).toEqual([]);
        expect(JSON.stringify(problem)).not.toMatch(/gho_|v1\./);
      }
      expect(gateway.upstream.seen.length).toBe(before);
      expect((await client.curl('/plain/x')).status).toBe(200);
      expect(valuesOf(lastSeen(), 'x-forwarded-user')).toEqual([userId]);
      expect(lastSeen().rawHeaders.join('\n')).not.toMatch(/gho_|v1\./);
    },
  );

  test('that is lost comes back by following reauthUrl, which leads back to the page', async () => {
    const { login } = addPerson(gateway.github);
    const client = await signedIn(login);
    const { userId } = await sessionIds(client);
    await gateway.store.query(`update account set "accessToken" = 'broken' where "userId" = $1`, userId);
    const problem = await (await client.curl('/forwarded/list?a=1')).json();
    const started = await client.curl(problem.reauthUrl);
    const url = started.headers.get('location') ?? '';
    const answer = await client.curl(await gateway.github.control.authorize({ url, login }));
    const landedAt = new URL(answer.headers.get('location') ?? '', gateway.url);
    expect(landedAt.href).toBe(`${gateway.url}/forwarded/list?a=1`);
    expect((await client.curl(landedAt.href)).status).toBe(200);
    expect(valuesOf(lastSeen(), 'x-forwarded-user')).toEqual([userId]);
  });
});

describe('where the request came from', () => {
  const claims = [
    ...['X-Forwarded-For', '203.0.113.7', 'X-Forwarded-Proto', 'https', 'X-Forwarded-Host', 'evil.example'],
    ...['X-Forwarded-Port', '444', 'Forwarded', 'for=203.0.113.7;proto=https', 'X-Real-IP', '203.0.113.7'],
    ...['X_Forwarded_For', '203.0.113.7', 'x.real.ip', '203.0.113.7', 'X-Forwarded_Host', 'evil.example'],
  ];
  const told = () =>
    Object.fromEntries(
      ['For', 'Proto', 'Host', 'Port'].map((name) => [name, valuesOf(lastSeen(), `X-Forwarded-${name}`)]),
    );
  const host = () => new URL(gateway.url).host;
  const ownWords = () => ({
    For: ['127.0.0.1'],
    Proto: ['http'],
    Host: [host()],
    Port: [new URL(gateway.url).port],
  });

  test('is told from the socket, whatever a client claims', async () => {
    for (const headers of [[], claims, [...claims, ...claims]]) {
      await send(`${gateway.url}/public/x`, { headers });
      expect(told()).toEqual(ownWords());
      expect(lastSeen().rawHeaders.join('\n')).not.toMatch(/203\.0\.113|evil/);
      for (const name of ['Forwarded', 'X-Real-IP']) expect(valuesOf(lastSeen(), name)).toEqual([]);
    }
    await send(`${gateway.url}/public/x`, { from: '127.9.8.7', headers: claims });
    expect(told().For).toEqual(['127.9.8.7']);
  });

  describe('behind a trusted proxy', () => {
    let behind: TestGateway;
    beforeAll(async () => {
      behind = await gateway.another({ PROXY: '127.0.0.64/26' });
    });
    afterAll(() => behind.close());

    test('is what the proxy says, and the proxy is added', async () => {
      await send(`${behind.url}/public/x`, { from: '127.0.0.65', headers: claims });
      expect(told()).toMatchObject({
        For: ['203.0.113.7, 127.0.0.65'],
        Proto: ['https'],
        Host: ['evil.example'],
      });
    });

    test('is not what somebody else says', async () => {
      await send(`${behind.url}/public/x`, { from: '127.0.0.2', headers: claims });
      expect(told()).toMatchObject({ For: ['127.0.0.2'], Proto: ['http'], Host: [new URL(behind.url).host] });
      expect(lastSeen().rawHeaders.join('\n')).not.toMatch(/203\.0\.113|evil/);
    });

    test('a scheme that is none is not passed on', async () => {
      for (const proto of ['javascript', 'https, http', '', 'HTTPS\u00e4']) {
        const headers = ['X-Forwarded-Proto', proto];
        await send(`${behind.url}/public/x`, { from: '127.0.0.65', headers });
        expect(told().Proto, proto).toEqual(['http']);
      }
    });
  });

  test('has one request id, ours, which the client gets too', async () => {
    const headers = ['X-Request-Id', 'theirs', 'x_request_id', 'theirs'];
    const response = await send(`${gateway.url}/public/x`, { headers });
    expect(valuesOf(lastSeen(), 'x-request-id')).toEqual([response.headers.get('x-request-id')]);
    expect(response.headers.get('x-request-id')).not.toContain('theirs');
  });
});

describe('headers for one connection', () => {
  let client: Client;
  let plainly: string[];
  beforeAll(async () => {
    client = await signedIn();
  });
  beforeEach(async () => {
    await client.curl('/forwarded/x');
    const volatile = new Set(['x-request-id', 'connection']);
    plainly = pairs(lastSeen()).flatMap(([n, v]) => (volatile.has(n.toLowerCase()) ? [] : [`${n}: ${v}`]));
    expect(plainly.length).toBeGreaterThanOrEqual(12);
  });
  const injected = [
    ...['X-Forwarded-User', 'x-forwarded-email', 'X-FORWARDED-GROUPS', 'X-Forwarded-Preferred-Username'],
    ...['X-Forwarded-Access-Token', 'X-Gateway-Scopes', 'X-Gateway-Session', 'X-Request-Id', 'Host'],
    ...['X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Forwarded-Port', 'x_forwarded_user'],
  ];
  const names = (count: number) => Array.from({ length: count }, (_, at) => `x-name-${at}`);

  test.each([
    ['x-forwarded-user', ['Connection', 'x-forwarded-user']],
    ['each of ours, in a line of its own', injected.flatMap((name) => ['Connection', name])],
    ['all of ours among 200 others', ['Connection', [...names(200), ...injected].join(', ')]],
    ['1,000 others in two lines', ['Connection', names(999).join(','), 'connection', 'X-Forwarded-User']],
    ['ours, with odd commas', ['Connection', `,, ,${injected.join(' ,, ')},close`]],
  ])('that name %s take none of ours away', async (_name, headers) => {
    expect((await client.curl('/forwarded/x', { headers })).status).toBe(200);
    const seen = pairs(lastSeen()).map(([name, value]) => `${name}: ${value}`);
    expect(seen).toEqual(expect.arrayContaining(plainly));
    expect(valuesOf(lastSeen(), 'x-request-id')).toHaveLength(1);
  });

  test('of the client stay here', async () => {
    const lines = [
      ...['Connection: X-Mine, close', 'X-Mine: leaked', 'Keep-Alive: timeout=leaked', 'X-Theirs: kept'],
      ...['Proxy-Connection', 'Proxy-Authorization', 'Proxy-Authenticate', 'Trailer', 'Upgrade'].map(
        (name) => `${name}: leaked`,
      ),
      ...['TE: trailers, leaked', 'HTTP2-Settings: leaked', `Cookie: ${cookieHeader(client.cookies)}`],
    ];
    expect((await sendBytes(gateway.url, requestText('/forwarded/x', lines))).status).toBe(200);
    expect(lastSeen().rawHeaders.join('\n')).not.toContain('leaked');
    expect(valuesOf(lastSeen(), 'x-theirs')).toEqual(['kept']);
  });

  test('of the upstream stay there', async () => {
    gateway.upstream.respond((_request, response) => {
      response.setHeader('Connection', ['X-Hop', 'keep-alive']);
      for (const name of ['X-Hop', 'Proxy-Authenticate', 'Proxy-Authentication-Info', 'Proxy-Connection'])
        response.setHeader(name, 'leaked');
      for (const name of ['TE', 'Upgrade', 'Trailer', 'Keep-Alive']) response.setHeader(name, 'leaked');
      response.setHeader('X-Theirs', 'kept').write('body');
      response.end();
    });
    const { status, headers, body } = await sendRaw(`${gateway.url}/public/x`);
    gateway.upstream.respond(undefined);
    expect([status, String(body)]).toEqual([200, 'body']);
    expect(headers.join('\n')).not.toMatch(/leaked|x-hop/i);
    expect(headers).toEqual(expect.arrayContaining(['X-Theirs', 'kept']));
  });
});

describe('the person is announced', () => {
  test('under the names of oauth2-proxy, unless said otherwise', async () => {
    const person = addPerson(gateway.github);
    const client = await signedIn(person.login);
    const { userId } = await sessionIds(client);
    await client.curl('/plain/x');
    expect(lastSeen().headers).toMatchObject({
      'x-forwarded-user': userId,
      'x-forwarded-email': person.emails[0]?.email,
      'x-forwarded-preferred-username': person.login,
      'x-forwarded-groups': 'user',
      'x-gateway-scopes': 'public_repo,read:user,user:email',
      'x-gateway-session': expect.stringMatching(/^[\w-]{16,}$/),
    });
    expect(Object.keys(lastSeen().headers).filter((name) => name.startsWith('remote-'))).toEqual([]);
  });

  test('with identity: remote under Remote-*, and not under X-Forwarded-*', async () => {
    const person = addPerson(gateway.github);
    const client = await signedIn(person.login);
    const { userId } = await sessionIds(client);
    await client.curl('/remote/x');
    expect(lastSeen().headers).toMatchObject({
      'remote-user': userId,
      'remote-email': person.emails[0]?.email,
      'remote-name': person.login,
      'remote-groups': 'user',
      'x-forwarded-access-token': expect.stringMatching(/^gho_/),
    });
    for (const name of ['user', 'email', 'preferred-username', 'groups'])
      expect(valuesOf(lastSeen(), `x-forwarded-${name}`), name).toEqual([]);
  });

  test('with identity: none not at all', async () => {
    const client = await signedIn();
    await client.curl('/silent/x');
    expect(Object.keys(lastSeen().headers).filter((name) => /^(remote|x-gateway|x-auth)/.test(name))).toEqual(
      [],
    );
    for (const name of PROTECTED) expect(valuesOf(lastSeen(), name), name).toEqual([]);
  });

  test('by a session name that is neither id nor token, the same on every request', async () => {
    const client = await signedIn();
    const rows = await gateway.store.query<{ id: string; token: string }>(`select id, token from session`);
    await client.curl('/plain/x');
    const [first = ''] = valuesOf(lastSeen(), 'x-gateway-session');
    await client.curl('/forwarded/y');
    expect(valuesOf(lastSeen(), 'x-gateway-session')).toEqual([first]);
    expect(rows.flatMap(({ id, token }) => [id, token])).not.toContain(first);
  });

  test.each([
    ['an emoji', '🦑 Kraken'],
    ['a NUL', 'a\u0000b'],
    ['line breaks', 'a\r\nX-Injected: yes\r\n\r\nGET /evil'],
    ['a line feed', 'a\nb'],
    ['right-to-left script', '\u202eمرحبا'],
    ['4 KB', 'é'.repeat(2048)],
    ['nothing but a space', ' '],
    ['no name', null],
    ['an empty name', ''],
    ['half an emoji', 'x\ud83d'],
    ['percent signs', '%0d%0aX-Injected: yes'],
  ])('when the name at GitHub holds %s', async (_case, name) => {
    const person = addPerson(gateway.github, { name });
    const { client, response } = await signInWithGitHub(gateway, person.login, '/api/auth/sign-in/social');
    expect(response.status, await response.clone().text()).toBe(302);
    for (const path of ['/plain/x', '/remote/x', '/bearer/x']) {
      expect((await client.curl(path)).status).toBe(200);
      expect(lastSeen().headers['x-injected']).toBeUndefined();
      expect(lastSeen().rawHeaders.join('')).toMatch(/^[\x20-\x7e]*$/);
    }
    expect((await client.json<{ user: object }>('/api/auth/get-session')).user).toMatchObject({
      email: person.emails[0]?.email,
    });
  });

  test.each(['jürgen@exämple.com', 'a%0d%0ab@example.com', '🦑@example.com', "o'brien+x@example.com"])(
    'when the e-mail is %s, in characters a header can hold',
    async (email) => {
      const person = addPerson(gateway.github, {
        emails: [{ email, primary: true, verified: true, visibility: null }],
      });
      const client = await signedIn(person.login);
      expect((await client.curl('/plain/x')).status).toBe(200);
      const [value = ''] = valuesOf(lastSeen(), 'x-forwarded-email');
      expect(value).toMatch(/^[\x21-\x7e]+$/);
      expect(decodeURIComponent(value)).toBe(email);
    },
  );
});

describe('the target', () => {
  test.each([
    ...['?', '??', '?/public', '?x=/../admin', '?a=1?b=2', '?a=%zz', '?%2e%2e/%00', '?a=b&&c==d&', '?//'],
    ...[
      '?q=%C3%A9&x=;y',
      '?\\..\\',
      '?[]{}|^`"<>',
      '?a+b%20c',
      '?next=https://evil.example/',
      '?__proto__=1',
    ],
    ...['?%0d%0aX-Injected:%20yes', '?a=%25252e', "?'--", `?${'a'.repeat(8000)}`],
  ])('keeps its query: %.40s', async (query) => {
    for (const path of ['/public/list', '/public/', '/cut/here/list']) {
      const answer = await sendBytes(gateway.url, requestText(`${path}${query}`));
      expect(answer.status).toBe(200);
      expect(lastSeen().url).toBe(`${path.replace('/cut/here', '')}${query}`);
    }
  });

  test('goes on byte for byte, whatever its path and query hold', UNHURRIED, async (context) => {
    const targets = scale({ quick: 150, full: 5000 });
    const random = randomFrom(20_300_115);
    const inPath = [
      ..."abcXYZ0189-._~!$&'()*+,=:@",
      '/a',
      '%20',
      '%C3%A9',
      'e%CC%81',
      '%c3%a9',
      '%F0%9F%A6%91',
      '%61',
      '%23',
      '%3F',
    ];
    const inQuery = [
      ...inPath,
      ...'?/;\\%[]{}|^`"<>',
      '%',
      '%zz',
      '%00',
      '%0d%0a',
      '/../',
      '//',
      '%2e%2e',
      '?/public',
      '&&',
    ];
    const some = (from: readonly string[], most: number) =>
      Array.from({ length: Math.floor(random() * most) }, () => pick(from, random)).join('');
    let changed = 0;
    for (let at = 0; at < targets; at++) {
      const target = `/public/x${some(inPath, 20)}?${some(inQuery, 40)}`;
      const { status } = await sendBytes(gateway.url, requestText(target));
      if (status !== 200 || lastSeen().url !== target) changed++;
    }
    report(context, {
      'targets sent on byte for byte: tried': targets,
      'targets sent on byte for byte: changed': changed,
    });
    expect(changed).toBe(0);
  });

  test.each([
    [8, 200],
    [15, 200],
    [30, 200],
    [40, 431],
    [64, 431],
  ])('of %i KB is answered %i', async (kb, status) => {
    const before = gateway.upstream.seen.length;
    const answer = await sendBytes(gateway.url, requestText(`/public/${'x'.repeat(kb * 1024)}`));
    expect(answer.status).toBe(status);
    expect(gateway.upstream.seen.length - before).toBe(status === 200 ? 1 : 0);
    if (status === 431) expect(JSON.parse(answer.body)).toMatchObject({ code: 'headers-too-large' });
  });

  test.each([
    ['/cut/here', '/'],
    ['/cut/here/', '/'],
    ['/cut/here/a/b', '/a/b'],
    ['/CUT/Here/A', '/A'],
    ['/cut/h%65re/a', '/a'],
    ['/cut/here/a%20b/%C3%A9', '/a%20b/%C3%A9'],
    ['/cut/here/cut/here/x', '/cut/here/x'],
    ['/cut/here?x=1', '/?x=1'],
  ])('%s loses its prefix and goes on as %s', async (target, sent) => {
    expect((await sendBytes(gateway.url, requestText(target))).status).toBe(200);
    expect(lastSeen().url).toBe(sent);
  });

  test('does not lose half a segment', async () => {
    const before = gateway.upstream.seen.length;
    expect((await sendBytes(gateway.url, requestText('/cut/hereafter'))).status).toBe(404);
    expect(gateway.upstream.seen.length).toBe(before);
  });
});
