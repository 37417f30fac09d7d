// What does a request say, and where does it end? Whatever two servers could read differently is refused.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { sendBytes } from '../support/raw-socket.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startTestGateway({
    stores: 'sqlite',
    config: `
upstreams: { plain: { targets: ["\${UPSTREAM}"] } }
routes:
  - { path: /**, upstream: plain, access: public }
  - { path: /private/**, upstream: plain, access: session }
`,
  });
});
afterAll(() => gateway?.close());

const get = (head: string) => `GET /x HTTP/1.1\r\n${head}\r\n\r\n`;
const post = (head: string, body = '5\r\nhello\r\n0\r\n\r\n') =>
  `POST /x HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n${body}`;

const refused: [string, string][] = [
  ['no Host', get('X-A: 1')],
  ['two Hosts', get('Host: a\r\nHost: b')],
  ['the same Host twice', get('Host: a\r\nhOST: a')],
  ...[
    ...['a b', 'a\tb', '', '/../@x', 'user@a', 'user:password@a', 'a/b', 'a?b', 'a#b', 'a,b', 'a;b', 'a\\b'],
    ...[
      'a:b',
      'a:',
      'a:-1',
      'a:65536',
      'a:123456',
      'a:80:80',
      ':80',
      'h\xf6st',
      '[::1',
      '[::g]',
      '[a]',
      '::1',
    ],
    ...['http://a', '<a>', '"a"', '%00', 'a%2fb', '*'],
  ].map((host): [string, string] => [`the Host "${host}"`, get(`Host: ${host}`)]),
  ['HTTP/0.9', 'GET /x\r\n\r\n'],
  ...['HTTP/0.9', 'HTTP/1.2', 'HTTP/1.10', 'HTTP/2.0', 'HTTP/2', 'HTTP/3.0', 'HTTP/x', 'ICY/1.1'].map(
    (version): [string, string] => [`the version ${version}`, `GET /x ${version}\r\nHost: a\r\n\r\n`],
  ),
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['the first bytes of TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ...[
    ...['gzip, chunked', 'xchunked', 'identity', 'chunked, chunked', 'chunked, identity', 'chunked;q=1', ''],
    ...[
      '"chunked"',
      'chunked\r\nTransfer-Encoding: chunked',
      'identity\r\nTransfer-Encoding: chunked',
      'cHunKed,',
    ],
    ...['gzip\r\nTransfer-Encoding: chunked', '\x0bchunked', 'chunked\x00', 'chun ked'],
  ].map((value): [string, string] => [`Transfer-Encoding "${value}"`, post(`Transfer-Encoding: ${value}`)]),
  ['a length behind an encoding', post('Transfer-Encoding: chunked\r\nContent-Length: 5')],
  ['a length before an encoding', post('Content-Length: 5\r\nTransfer-Encoding: chunked')],
  [
    'an encoding in HTTP/1.0',
    'POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ],
  ['two lengths', post('Content-Length: 5\r\nContent-Length: 6', 'hello')],
  ['the same length twice', post('Content-Length: 5\r\nContent-Length: 5', 'hello')],
  ...['+5', '-5', '0x5', '5,5', '5 5', '', '5a', '99999999999999999999', '\x0b5'].map(
    (value): [string, string] => [`the length "${value}"`, post(`Content-Length: ${value}`, 'hello')],
  ),
  ...['X-N\xe9', 'X-\xe2\x84\xaa', 'X N', 'X-N ', 'X(N)', '', 'X\x00', 'X"'].map((name): [string, string] => [
    `the header name "${name}"`,
    get(`Host: a\r\n${name}: 1`),
  ]),
  ['a folded header', get('Host: a\r\nX-A: 1\r\n  more')],
  ['a header line that ends in LF', get('Host: a\r\nX-A: 1\nX-B: 2')],
  ['a CR within a value', get('Host: a\r\nX-A: 1\r2')],
  ['a NUL within a value', get('Host: a\r\nX-A: 1\x002')],
  ['lines that end in LF alone', 'GET /x HTTP/1.1\nHost: a\n\n'],
];

test.each(refused)('%s is refused with 400, and the connection closed', async (_what, text) => {
  const before = gateway.upstream.seen.length;
  const { status, head, body } = await sendBytes(gateway.url, text);
  expect([status, JSON.parse(body)]).toEqual([400, expect.objectContaining({ status: 400 })]);
  expect(head).toMatch(/\r\nconnection: close/i);
  expect(head).toMatch(/\r\ncontent-type: application\/problem\+json/i);
  expect(gateway.upstream.seen.length).toBe(before);
});

test.each(refused)('behind %s nothing is read as a request', async (_what, text) => {
  const before = gateway.upstream.seen.length;
  const { body } = await sendBytes(gateway.url, `${text}GET /behind HTTP/1.1\r\nHost: a\r\n\r\n`);
  expect(body).not.toMatch(/HTTP\/1\.1 \d/);
  expect(gateway.upstream.seen.slice(before)).toEqual([]);
});

const accepted: [string, string][] = [
  ...[
    ...[
      'a',
      'A.example',
      'a.example:8080',
      'under_score',
      '127.0.0.1:80',
      '[::1]',
      '[::1]:8080',
      'xn--bcher-kva.example',
    ],
    ...['a.example.', 'a:0', 'a:65535'],
  ].map((host): [string, string] => [`the Host ${host}`, get(`Host: ${host}\r\nConnection: close`)]),
  ['HTTP/1.0 without Host', 'GET /x HTTP/1.0\r\n\r\n'],
  ['Transfer-Encoding: CHUNKED', post('Connection: close\r\nTransfer-Encoding: CHUNKED')],
  ['an expectation nobody knows', post('Connection: close\r\nExpect: 200-ok\r\nContent-Length: 1', 'x')],
];
test.each(accepted)('%s is accepted', async (_what, text) => {
  expect((await sendBytes(gateway.url, text)).status).toBe(200);
});

test.each(['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', 'x_http_method_override'])(
  '%s is not told to the upstream',
  async (name) => {
    await sendBytes(gateway.url, post(`Connection: close\r\n${name}: DELETE\r\nContent-Length: 1`, 'x'));
    const { rawHeaders = [] } = gateway.upstream.seen.at(-1) ?? {};
    expect(rawHeaders.join()).not.toContain('DELETE');
  },
);

describe('what is malformed behind other requests', () => {
  const good = 'GET /good HTTP/1.1\r\nHost: a\r\n\r\n';

  test('waits for the answers that are due before it', async () => {
    gateway.upstream.respond((_request, response) => setTimeout(() => response.end('in time'), 50));
    onTestFinished(() => gateway.upstream.respond(undefined));
    const answer = await sendBytes(gateway.url, `${good}${good}garbage\r\n\r\n`);
    expect(`${answer.head}${answer.body}`.match(/HTTP\/1\.1 \d+/g)).toEqual([
      ...['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 400'],
    ]);
    expect(answer.body.match(/in time/g)).toHaveLength(2);
  });

  test('is passed over behind the last one', async () => {
    const last = good.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');
    const { status, body } = await sendBytes(gateway.url, `${last}garbage`);
    expect([status, body]).toEqual([200, expect.stringContaining('/good')]);
  });

  const brokenBodies: [string, string][] = [
    ['a size that is none', 'zz\r\nhello\r\n0\r\n\r\n'],
    ['a size too large', 'fffffffffffffffff\r\nhello\r\n0\r\n\r\n'],
    ['a size with a blank', '5 \r\nhello\r\n0\r\n\r\n'],
    ['a line feed in an extension', '5;a=b\nc\r\nhello\r\n0\r\n\r\n'],
    ['more than its size', '5\r\nhello!\r\n0\r\n\r\n'],
    ['line feeds alone', '5\nhello\n0\n\n'],
    ['a negative size', '-5\r\nhello\r\n0\r\n\r\n'],
    ['a size in hex of C', '0x5\r\nhello\r\n0\r\n\r\n'],
  ];
  test.each(brokenBodies)('within a body in chunks (%s) is 400', async (_what, chunks) => {
    gateway.upstream.respond((request, response) => {
      request.on('error', () => {}).on('end', () => response.end('complete'));
      request.resume();
    });
    onTestFinished(() => gateway.upstream.respond(undefined));
    const { status, head } = await sendBytes(
      gateway.url,
      `${post('Transfer-Encoding: chunked', chunks)}${good}`,
    );
    expect([status, /connection: close/i.test(head)]).toEqual([400, true]);
  });
});

describe('Expect: 100-continue', () => {
  const upload = (path: string, more = '') =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n${more}\r\n`;

  function openSocket(text: string) {
    const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    const state = { socket, text: '', ended: false };
    socket
      .on('error', () => {})
      .on('data', (chunk) => {
        state.text += chunk.toString('latin1');
      })
      .on('end', () => {
        state.ended = true;
      });
    socket.write(text);
    return state;
  }

  test('is granted when the request is on its way to its upstream', async () => {
    gateway.upstream.respond((request, response) => request.resume().on('end', () => response.end('got it')));
    onTestFinished(() => gateway.upstream.respond(undefined));
    const state = openSocket(upload('/continue'));
    await expect.poll(() => state.text).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    expect(gateway.upstream.seen.at(-1)).toMatchObject({ url: '/continue' });
    expect(gateway.upstream.seen.at(-1)?.headers).not.toHaveProperty('expect');
    state.socket.write('body');
    await expect.poll(() => state.text).toContain('HTTP/1.1 200 OK');
  });

  test.each([
    ['401 without a session', '/private/x', '', 401],
    ['400 for an ambiguous path', '/a//b', '', 400],
    ['400 for two Hosts', '/x', 'Host: b\r\n', 400],
    ['401 at an endpoint of the gateway', '/api/user-scopes', '', 401],
    ['413 for a long token', '/api/auth/pat-signin', '', 413],
  ])(
    'is not granted where the answer is %s, and the connection closed',
    async (_what, path, more, status) => {
      const request = upload(path, more);
      const state = openSocket(status === 413 ? request.replace('Length: 4', 'Length: 100000') : request);
      await expect.poll(() => state.ended).toBe(true);
      expect(state.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      expect(state.text).toMatch(/\r\nconnection: close/i);
    },
  );

  test('is granted by an endpoint of the gateway that reads the body', async () => {
    const state = openSocket(
      upload('/api/auth/pat-signin', 'Content-Type: application/json\r\n').replace('Length: 4', 'Length: 11'),
    );
    await expect.poll(() => state.text).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    state.socket.write('{"pat":"x"}');
    await expect.poll(() => state.text).toContain('HTTP/1.1 401 ');
  });

  test('is passed over in HTTP/1.0', async () => {
    const request = upload('/old').replace('HTTP/1.1', 'HTTP/1.0');
    const { head } = await sendBytes(gateway.url, `${request}body`);
    expect(head).toMatch(/^HTTP\/1.1 200 /);
  });

  test('is not granted when no upstream takes the request', async () => {
    const dead = await deadServer();
    const other = await startTestGateway({
      stores: 'sqlite',
      config: `
upstreams: { dead: { targets: ["http://127.0.0.1:${dead}"] } }
routes: [{ path: /**, upstream: dead, access: public }]
`,
    });
    onTestFinished(() => other.close());
    const { head } = await sendBytes(other.url, upload('/x'));
    expect(head).toMatch(/^HTTP\/1.1 502 /);
  });
});

async function deadServer(): Promise<number> {
  const server: Server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
