// Who may open a WebSocket, what the upstream is told of them, and what becomes of an upstream's own answer.
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Client, createClient, signInWithGitHub, signInWithToken } from '../../support/browser-like.ts';
import { report } from '../../support/figures.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { addPerson } from '../../support/person.ts';
import { requestText, sendBytes } from '../../support/raw-socket.ts';
import { freePort } from '../../support/servers/port.ts';
import { closeOf, handshakeText, openBare, openWebSocket, shakeHands } from '../../support/streams.ts';
import { acceptWebSocket, type SeenRequest } from '../../support/upstream.ts';

let gateway: TestGateway;
let silent: Server;
let client: Client;
let userId: string;
const silentSockets = new Set<Socket>();

beforeAll(async () => {
  silent = createServer((socket) => {
    silentSockets.add(socket.on('error', () => {}));
    socket.resume().once('close', () => silentSockets.delete(socket));
  }).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  gateway = await startTestGateway({
    config: `
upstreams:
  hub: { targets: ["\${UPSTREAM}"], githubToken: forwarded }
  dead: { targets: ["http://127.0.0.1:${await freePort()}"] }
  silent: { targets: ["http://127.0.0.1:${(silent.address() as { port: number }).port}"], timeouts: { headers: 400ms } }
  patient: { targets: ["http://127.0.0.1:${(silent.address() as { port: number }).port}"] }
routes:
  - { path: /public/**, upstream: hub, access: public }
  - { path: /api/admin/**, upstream: hub, access: { roles: [admin] } }
  - { path: /api/workflows/**, upstream: hub, access: { scopes: [workflow] } }
  - { path: /api/**, upstream: hub }
  - { path: /optional/**, upstream: hub, access: optional }
  - { path: /dead/**, upstream: dead }
  - { path: /silent/**, upstream: silent }
  - { path: /patient/**, upstream: patient }
admins: [monalisa]
trustedOrigins: ["https://app.example.com"]
`,
  });
  client = await signInWithToken(gateway, 'octocat');
  const session = await client.json<{ user: { id: string } }>('/api/auth/get-session');
  userId = session.user.id;
});
afterEach(() => {
  gateway.upstream.upgrade(undefined);
  gateway.upstream.respond(undefined);
});
afterAll(async () => {
  for (const socket of silentSockets) socket.destroy();
  silent.close();
  await gateway?.close();
});

const at = (path: string) => `${gateway.url}${path}`;
/** How many requests of any kind reached the upstream meanwhile. */
const seenDuring = async <T>(work: () => Promise<T>): Promise<[T, number]> => {
  const before = gateway.upstream.seen.length;
  const result = await work();
  return [result, gateway.upstream.seen.length - before];
};

test('no WebSocket is opened without right, and the upstream hears of none', async (context) => {
  const { client: banned } = await signInWithGitHub(gateway, addPerson(gateway.github).login);
  const { user } = await banned.json<{ user: { id: string } }>('/api/auth/get-session');
  await gateway.store.query('update "user" set banned = true where id = $1', user.id);
  const session = client.cookies.get('better-auth.session_token') ?? '';
  const forged = createClient(
    gateway.url,
    new Map([['better-auth.session_token', session.replace(/^./, (first) => (first === 'x' ? 'y' : 'x'))]]),
  );
  const ended = await signInWithToken(gateway, 'hubot');
  const replay = createClient(gateway.url, new Map(ended.cookies));
  await ended.fetch('/api/auth/sign-out', { method: 'POST' });
  await expect.poll(async () => (await banned.fetch('/api/x')).status).toBe(403);

  const { client: acting } = await signInWithGitHub(gateway, 'monalisa');
  const impersonation = await acting.fetch('/api/auth/admin/impersonate-user', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ userId }),
  });
  expect(impersonation.status).toBe(200);

  const foreign = [
    'https://evil.example',
    'null',
    'http://127.0.0.1:1',
    'file://',
    `${gateway.url}.evil.example`,
  ];
  const attempts: [string, Parameters<typeof shakeHands>[1], string][] = [
    ['/api/x', {}, '401 no-session-cookie'],
    ['/api/x', { client: forged }, '401 session-invalid'],
    ['/api/x', { client: replay }, '401 session-expired'],
    ['/api/x', { client: banned }, '403 user-banned'],
    ['/api/admin/x', { client }, '403 role-missing'],
    ['/api/workflows/x', { client }, '403 scope-missing'],
    ['/api/x', { client: acting }, '403 impersonation-read-only'],
    ['/nowhere', { client }, '404 route-not-found'],
    ...['/api/x', '/public/x', '/optional/x'].flatMap((path) =>
      foreign.map((origin): [string, Parameters<typeof shakeHands>[1], string] => [
        path,
        { client, headers: { origin } },
        '403 cross-site-request',
      ]),
    ),
    ['/api/x', { client, headers: { 'sec-fetch-site': 'cross-site' } }, '403 cross-site-request'],
    ['/api/x', { client, headers: { 'sec-fetch-site': 'same-site' } }, '403 cross-site-request'],
  ];
  const wrong: string[] = [];
  const [, seen] = await seenDuring(async () => {
    for (const [path, options, expected] of attempts) {
      const handshake = await shakeHands(at(path), options);
      const got = handshake.opened ? 'opened' : `${handshake.status} ${handshake.code}`;
      if (got !== expected)
        wrong.push(`${path} ${JSON.stringify(options?.headers)}: ${got}, not ${expected}`);
    }
  });
  expect(wrong).toEqual([]);
  expect(seen).toBe(0);

  const paths = [
    ...['/api/./admin/x', '/api/%2e/admin/x', '/public/../api/admin/x', '/public/%2e%2e/api/admin/x'],
    ...[
      '//api/admin/x',
      '/api//admin/x',
      '/api%2fadmin/x',
      '/api/admin%2fx',
      '/api/x%5cy',
      '/api/%00',
      '/api/x;y',
    ],
    ...['/api/%252e%252e/admin', '/api/x%', '/api/%zz', '/public/..;/api/x', '/api\\admin\\x'],
  ];
  const cookie = `better-auth.session_token=${session}`;
  const answers: number[] = [];
  const [, seenOfPaths] = await seenDuring(async () => {
    for (const path of paths)
      answers.push((await sendBytes(gateway.url, handshakeText(path, { Cookie: cookie }))).status);
  });
  expect(answers).toEqual(paths.map(() => 400));
  expect(seenOfPaths).toBe(0);
  report(context, { tried: attempts.length + paths.length, opened: 0, seenByUpstream: 0 });
});

test.for<[name: string, lines: Record<string, string | null>, status: number, seen: number]>([
  ['without a key', { 'Sec-WebSocket-Key': null }, 400, 0],
  ['with a short key', { 'Sec-WebSocket-Key': 'c2hvcnQ=' }, 400, 0],
  ['with a key that is no base64', { 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!==' }, 400, 0],
  ['with an empty key', { 'Sec-WebSocket-Key': '' }, 400, 0],
  ['without a version', { 'Sec-WebSocket-Version': null }, 426, 0],
  ['of version 8', { 'Sec-WebSocket-Version': '8' }, 426, 0],
  ['of versions 13, 8', { 'Sec-WebSocket-Version': '13, 8' }, 426, 0],
  ['by POST', { method: 'POST' }, 405, 0],
  ['by PUT', { method: 'PUT' }, 405, 0],
  ['by HEAD', { method: 'HEAD' }, 405, 0],
  ['by OPTIONS', { method: 'OPTIONS' }, 405, 0],
  ['in HTTP/1.0', { version: '1.0' }, 400, 0],
  ['with a length of a body', { 'Content-Length': '5' }, 400, 0],
  ['with a chunked body', { 'Transfer-Encoding': 'chunked' }, 400, 0],
  ['without Connection: Upgrade', { Connection: 'close' }, 400, 0],
  ['with two Hosts', { host: 'other.test' }, 400, 0],
  // Served without changing the protocol.
  [
    'of h2c',
    { Upgrade: 'h2c', Connection: 'Upgrade, HTTP2-Settings, close', 'HTTP2-Settings': 'AAMAAABk' },
    200,
    1,
  ],
  ['of another protocol', { Upgrade: 'IRC/6.9', Connection: 'Upgrade, close' }, 200, 1],
])('a handshake %s opens nothing', async ([, lines, status, seen]) => {
  gateway.upstream.upgrade((_request, socket) => socket.destroy());
  const [answer, reached] = await seenDuring(() => sendBytes(gateway.url, handshakeText('/public/x', lines)));
  expect([answer.status, reached]).toEqual([status, seen]);
  if (status === 426) expect(answer.head).toMatch(/^sec-websocket-version: 13$/im);
  if (status === 405) expect(answer.head).toMatch(/^allow: GET$/im);
  expect(answer.head).not.toMatch(/^upgrade: h2c/im);
});

test('bytes behind a handshake that is refused become no request', async (context) => {
  const smuggled = requestText('/public/smuggled');
  const refusals: [string, string][] = [
    ['without a session', handshakeText('/api/x')],
    [
      'across sites',
      handshakeText('/public/x', { Cookie: 'better-auth.session_token=x', Origin: 'https://evil.example' }),
    ],
    ['of a wrong version', handshakeText('/public/x', { 'Sec-WebSocket-Version': '7' })],
    ['without a key', handshakeText('/public/x', { 'Sec-WebSocket-Key': null })],
    ['by POST', handshakeText('/public/x', { method: 'POST' })],
    ['with a length', handshakeText('/public/x', { 'Content-Length': String(smuggled.length) })],
    ['of no route', handshakeText('/nowhere')],
    ['of an ambiguous path', handshakeText('/public/../api/x')],
    ['by the upstream', handshakeText('/public/refused')],
  ];
  gateway.upstream.upgrade((_request, socket) =>
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n'),
  );
  const before = gateway.upstream.seen.length;
  for (const [, text] of refusals)
    for (const apart of [false, true]) {
      const answer = await sendInParts(text, smuggled, apart);
      expect(answer.match(/^HTTP\/1\.1 \d+/gm), text).toHaveLength(1);
      expect(answer).toMatch(/^HTTP\/1\.1 4/);
    }
  const seen = gateway.upstream.seen.slice(before).map(({ url }) => url);
  expect(seen).toEqual(['/public/refused', '/public/refused']);
  report(context, {
    tried: 2 * refusals.length,
    bytesSmuggled: seen.filter((url) => url.includes('smuggled')).length,
  });
});

test('bytes behind a handshake that is accepted are the WebSocket’s, in order', async () => {
  gateway.upstream.upgrade((request, socket, head) => {
    setTimeout(async () => {
      const webSocket = await acceptWebSocket(request, socket, head);
      webSocket.on('message', (data) => webSocket.send(`heard ${data}`));
    }, 50);
  });
  const frame = (text: string) =>
    Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
  const { hostname, port } = new URL(gateway.url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  let got = '';
  socket.on('data', (chunk) => {
    got += chunk.toString('latin1');
  });
  socket.write(Buffer.concat([Buffer.from(handshakeText('/public/x')), frame('one')]));
  await new Promise((resolve) => setTimeout(resolve, 10));
  socket.write(frame('two'));
  await expect.poll(() => got).toMatch(/^HTTP\/1\.1 101 .*heard one.*heard two$/s);
});

test('a handshake behind a request that is not answered yet waits its turn, and is refused', async () => {
  const held = Promise.withResolvers<void>();
  gateway.upstream.respond((_request, response) => {
    held.promise.then(() => response.end('first'));
  });
  const answering = sendInParts(
    requestText('/public/first').replace('close', 'keep-alive'),
    handshakeText('/public/x'),
    false,
  );
  await expect.poll(() => gateway.upstream.seen.at(-1)?.url).toBe('/public/first');
  held.resolve();
  const answer = await answering;
  expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400']);
  gateway.upstream.respond(undefined);
  expect((await fetch(at('/public/alive'))).status).toBe(200);
});

test('a connection that has carried requests may become a WebSocket', async () => {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  socket.write(requestText('/public/first').replace('close', 'keep-alive'));
  await once(socket, 'data');
  socket.write(handshakeText('/public/x'));
  const [answer] = await once(socket, 'data');
  expect(String(answer)).toMatch(/^HTTP\/1\.1 101 /);
});

describe('the upstream of a WebSocket', () => {
  test('is told who opens it, and gets none of our cookies', async (context) => {
    const { client: admin } = await signInWithGitHub(gateway, 'monalisa');
    const attempts = [
      { path: '/api/x', client, user: userId },
      { path: '/optional/x', client, user: userId },
      { path: '/api/admin/x', client: admin, user: expect.any(String) },
      { path: '/public/x', client, user: undefined },
      { path: '/optional/x', client: undefined, user: undefined },
    ];
    const forged = {
      'x-forwarded-user': 'somebody-else',
      X_Forwarded_User: 'somebody-else',
      'x-gateway-scopes': 'admin',
      'x-forwarded-access-token': 'gho_forged',
    };
    const before = gateway.upstream.seen.length;
    for (const { path, client: who, user } of attempts)
      for (const origin of [gateway.url, 'https://app.example.com', null]) {
        const cookies = new Map([['theme', 'dark'], ...(who?.cookies ?? [])]);
        const headers = { ...forged, ...(origin === null ? {} : { origin }) };
        const webSocket = await openWebSocket(at(path), { client: { cookies }, headers });
        webSocket.terminate();
        const { headers: seen, rawHeaders } = gateway.upstream.seen.at(-1) as SeenRequest;
        expect(seen).toMatchObject({ connection: 'upgrade', upgrade: 'websocket', cookie: 'theme=dark' });
        expect(seen['x-forwarded-user']).toEqual(user);
        expect(seen['x-request-id']).toMatch(/^[\w-]{36}$/);
        const token = user === undefined ? undefined : expect.stringMatching(/^gh[op]_/);
        expect(seen['x-forwarded-access-token']).toEqual(token);
        expect(rawHeaders.join('\n')).not.toMatch(/somebody-else|forged|better-auth/);
      }
    const upgrades = gateway.upstream.seen.length - before;
    expect(upgrades).toBe(3 * attempts.length);
    report(context, { upgrades, ownCookiesSeen: 0 });
  });

  test('chooses the subprotocol and the extensions', async () => {
    const handshake = await shakeHands(at('/api/x'), {
      client,
      protocols: ['graphql-transport-ws', 'other'],
      perMessageDeflate: true,
    });
    if (!handshake.opened) throw new Error(handshake.body);
    const { webSocket } = handshake;
    expect(gateway.upstream.seen.at(-1)?.headers).toMatchObject({
      'sec-websocket-protocol': 'graphql-transport-ws,other',
      'sec-websocket-extensions': expect.stringContaining('permessage-deflate'),
    });
    expect([webSocket.protocol, webSocket.extensions]).toEqual([
      'graphql-transport-ws',
      'permessage-deflate',
    ]);
    const text = 'compressed '.repeat(1000);
    webSocket.send(text);
    expect(String((await once(webSocket, 'message'))[0])).toBe(text);
    webSocket.terminate();
  });

  test.for([401, 403, 404, 426, 500, 200])('that answers %i is passed on as it is', async (status) => {
    const body = 'x'.repeat(300_000);
    gateway.upstream.upgrade((_request, socket) =>
      socket.end(
        `HTTP/1.1 ${status} Whatever\r\nX-Reason: mine\r\nWWW-Authenticate: Bearer\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      ),
    );
    const handshake = await shakeHands(at('/api/x'), { client });
    expect(handshake).toMatchObject({ opened: false, status, body });
    expect(handshake.headers).toMatchObject({ 'x-reason': 'mine', 'www-authenticate': 'Bearer' });
    expect(handshake.headers['x-gateway-intercepted-response']).toBeUndefined();
  });

  test.for<[string, string, string]>([
    ['refuses connections', '/dead/x', '502 upstream-unreachable'],
    ['says nothing', '/silent/x', '504 upstream-timeout'],
  ])('that %s is no 101', async ([, path, expected]) => {
    const handshake = await shakeHands(at(path), { client });
    expect(handshake.opened ? 'opened' : `${handshake.status} ${handshake.code}`).toBe(expected);
  });

  test.for<[string, string]>([
    [
      'a wrong accept',
      'HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n',
    ],
    ['no accept', 'HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'],
    ['no HTTP', 'SSH-2.0-OpenSSH_9\r\n\r\n'],
    ['nothing and closes', ''],
  ])('that answers with %s is 502', async ([, answer]) => {
    gateway.upstream.upgrade((_request, socket) => socket.end(answer));
    const handshake = await shakeHands(at('/api/x'), { client });
    expect(handshake.opened ? 'opened' : `${handshake.status} ${handshake.code}`).toBe('502 upstream-broken');
  });

  test('may speak first, in the same packet as its 101', async () => {
    gateway.upstream.upgrade(async (request, socket, head) => {
      socket.cork();
      const webSocket = await acceptWebSocket(request, socket, head);
      webSocket.send('welcome');
      socket.uncork();
    });
    const { socket, head, rest } = await openBare(gateway.url, handshakeText('/public/x'));
    onTestFinished(() => void socket.destroy());
    expect(head).toMatch(/^HTTP\/1\.1 101 /);
    const got = rest.length > 0 ? rest : (await once(socket, 'data'))[0];
    expect(got).toEqual(Buffer.from('\x81\x07welcome', 'latin1'));
  });

  test('is let go at once when the client leaves before its answer', async () => {
    const { hostname, port } = new URL(gateway.url);
    const cookie = [...client.cookies].map((pair) => pair.join('=')).join('; ');
    for (const leave of ['end', 'resetAndDestroy'] as const) {
      // Those of other tests are on their way out.
      await expect.poll(() => silentSockets.size).toBe(0);
      const socket = connect(Number(port), hostname).on('error', () => {});
      socket.write(handshakeText('/patient/x', { Cookie: cookie }));
      await expect.poll(() => silentSockets.size).toBe(1);
      socket[leave]();
      await expect.poll(() => silentSockets.size, { timeout: 2000 }).toBe(0);
    }
  });

  test('may be cut off by a reset while the client goes on sending, and both are gone', async () => {
    gateway.upstream.upgrade(async (request, socket, head) => {
      await acceptWebSocket(request, socket, head);
      socket.end(Buffer.from([0x88, 2, 3, 0xe9]));
      setTimeout(() => socket.destroy(), 20);
    });
    const { socket } = await openBare(gateway.url, handshakeText('/public/x'));
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => {});
    const sending = setInterval(() => socket.write(Buffer.from([0x81, 0x80, 0, 0, 0, 0])), 5);
    onTestFinished(() => clearInterval(sending));
    const gone = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    await gone;
    await expect.poll(() => lineOf('/public/x')?.status, { timeout: 4000 }).toBe(101);
  });
});

test('a WebSocket leaves one line in the log, when it is over', async () => {
  const webSocket = await openWebSocket(at('/api/logged'), { client });
  expect(lineOf('/api/logged')).toBeUndefined();
  const closed = closeOf(webSocket);
  webSocket.close(1000);
  await closed;
  await expect
    .poll(() => lineOf('/api/logged'))
    .toMatchObject({ status: 101, completed: true, decision: 'allow', userId, method: 'GET' });
});

function lineOf(path: string): Record<string, unknown> | undefined {
  return gateway
    .logLines()
    .map((line) => JSON.parse(line))
    .findLast((line) => line.msg === 'request' && line.path === path);
}

/** What comes back until the other side closes. */
async function sendInParts(first: string, second: string, apart: boolean): Promise<string> {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  let got = '';
  socket.on('data', (chunk) => {
    got += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  if (apart) {
    socket.write(first, 'latin1');
    await new Promise((resolve) => setTimeout(resolve, 10));
    socket.write(second, 'latin1');
  } else socket.write(first + second, 'latin1');
  await closed;
  return got;
}
