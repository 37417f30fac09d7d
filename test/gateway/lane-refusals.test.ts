// A body that is not wanted is not read, and its client gets to read why.
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { scale } from '../support/scale.ts';
import { send } from '../support/send.ts';

const KIB = 1024;
let gateway: TestGateway;
/** The gateway's side of every connection. */
const accepted: Socket[] = [];

beforeAll(async () => {
  gateway = await startTestGateway({
    stores: 'sqlite',
    logLevel: 'warn',
    config: `
upstreams: { plain: { targets: ["\${UPSTREAM}"] } }
routes:
  - { path: /private/**, upstream: plain, access: session }
  - { path: /public/**, upstream: plain, access: public }
`,
  });
  gateway.app.server.on('connection', (socket) => accepted.push(socket));
});
afterAll(() => gateway?.close());

/** Sends as much as it is let, and reads what comes. */
async function upload(head: string): Promise<{ text: string; error: string | null }> {
  const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
  const chunk = Buffer.alloc(64 * KIB);
  let text = '';
  let error: string | null = null;
  const pour = () => {
    while (!socket.destroyed && !text.includes('\r\n\r\n') && socket.write(chunk));
  };
  socket
    .on('error', (cause: NodeJS.ErrnoException) => {
      error = cause.code ?? cause.message;
    })
    .on('drain', pour)
    .on('data', (data) => {
      text += data.toString('latin1');
    });
  socket.write(head);
  pour();
  await new Promise((resolve) => socket.once('end', resolve).once('close', resolve));
  socket.destroy();
  return { text, error };
}

const HUGE = 1024 * KIB * KIB;

test('an upload of 1 GB without a session is 401 at once: of it next to nothing is read', async (context) => {
  const uploads = scale({ quick: 50, full: 1000 });
  const before = accepted.length;
  const outcomes: Record<string, number> = {};
  for (let done = 0; done < uploads; done += 25) {
    const batch = Array.from({ length: 25 }, (_, at) =>
      upload(
        at % 2 === 0
          ? `POST /private/x HTTP/1.1\r\nHost: a\r\nContent-Length: ${HUGE}\r\n\r\n`
          : `POST /private/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${HUGE.toString(16)}\r\n`,
      ),
    );
    for (const { text, error } of await Promise.all(batch)) {
      const outcome = `${text.slice(0, 12)} ${/"code":"([a-z-]+)"/.exec(text)?.[1]} ${error ?? 'read in full'}`;
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
  }
  const bytesRead = accepted.slice(before).map((socket) => socket.bytesRead);
  report(context, {
    'refused uploads of 1 GB: tried': uploads,
    'refused uploads of 1 GB: read beyond 64 KiB': bytesRead.filter((bytes) => bytes > 64 * KIB).length,
    mostBytesReadOfOne: Math.max(...bytesRead),
  });
  expect(outcomes).toEqual({ 'HTTP/1.1 401 no-session-cookie read in full': uploads });
  expect(Math.max(...bytesRead)).toBeLessThanOrEqual(64 * KIB);
  expect(gateway.upstream.seen.filter(({ url }) => url === '/private/x')).toEqual([]);
  // None stays longer than its client may take to read the answer.
  await expect
    .poll(() => accepted.slice(before).every((socket) => socket.destroyed), { timeout: 10_000 })
    .toBe(true);
});

test.each([
  ['of an unknown path', 'POST /nowhere HTTP/1.1', 404],
  ['of a path in two readings', 'POST /public//x HTTP/1.1', 400],
  ['whose path is no path at all', 'POST /%zz HTTP/1.1', 400],
  ['to an endpoint that takes none', 'POST /api/auth/ok HTTP/1.1', 405],
  ['to an endpoint without a session', 'POST /api/user-scopes HTTP/1.1', 401],
  ['to a reserved path', 'POST /_gateway/x HTTP/1.1', 404],
  ['too long for a token', 'POST /api/auth/pat-signin HTTP/1.1', 413],
])('an upload %s is refused without being read', async (_what, line, status) => {
  const before = accepted.length;
  const { text, error } = await upload(`${line}\r\nHost: a\r\nContent-Length: ${HUGE}\r\n\r\n`);
  expect([text.slice(0, 12), error]).toEqual([`HTTP/1.1 ${status}`, null]);
  expect(text).toMatch(/\r\nconnection: close/i);
  expect(accepted[before]?.bytesRead).toBeLessThanOrEqual(64 * KIB);
});

test('an upload in chunks that is too long for a token is refused within it', async () => {
  const head = 'POST /api/auth/pat-signin HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n';
  const { text, error } = await upload(`${head}Transfer-Encoding: chunked\r\n\r\n${HUGE.toString(16)}\r\n`);
  expect([text.slice(0, 12), error]).toEqual(['HTTP/1.1 413', null]);
});

test('a small body that is refused leaves its connection to the next request', async () => {
  const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += chunk;
  });
  const body = Buffer.alloc(64 * KIB, 'GET /public/smuggled HTTP/1.1\r\nHost: a\r\n\r\n');
  for (let round = 1; round <= 3; round++) {
    socket.write(`POST /private/x HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`);
    await expect.poll(() => text.match(/HTTP\/1\.1 401/g)).toHaveLength(round);
    socket.write(body);
    await sleep(20);
  }
  socket.write('GET /public/own HTTP/1.1\r\nHost: a\r\n\r\n');
  await expect.poll(() => text).toContain('"url":"/public/own"');
  expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual([...Array(3).fill('HTTP/1.1 401'), 'HTTP/1.1 200']);
});

test('a body under /api/auth that comes too slowly is refused', { timeout: 30_000 }, async () => {
  const request = httpRequest(`${gateway.url}/api/auth/pat-signin`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': '1000' },
    agent: false,
  }).on('error', () => {});
  onTestFinished(() => void request.destroy());
  const trickle = setInterval(() => request.write(' '), 200);
  onTestFinished(() => clearInterval(trickle));
  const startedAt = performance.now();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  expect(performance.now() - startedAt).toBeGreaterThan(9000);
  const text = Buffer.concat(await response.toArray()).toString();
  expect([response.statusCode, response.headers.connection, JSON.parse(text)]).toEqual([
    400,
    'close',
    expect.objectContaining({ code: 'bad-request', detail: 'The body took too long to arrive.' }),
  ]);
});

test('what a request asks between two refused uploads is answered as its own', async (context) => {
  const rounds = scale({ quick: 200, full: 10_000 });
  let mixed = 0;
  for (let round = 0; round < rounds; round += 20) {
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, at) => {
        const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
        const length = at % 3 === 0 ? 10 : at % 3 === 1 ? 60_000 : 100_000;
        const own = `/public/${round}-${at}`;
        socket.write(`POST /private/x HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`);
        socket.write(Buffer.alloc(length, 'GET /public/smuggled HTTP/1.1\r\nHost: a\r\n\r\n'));
        socket.write(`GET ${own} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
        let text = '';
        socket
          .on('error', () => {})
          .on('data', (data) => {
            text += data.toString('latin1');
          });
        await new Promise((resolve) => socket.once('end', resolve).once('close', resolve));
        socket.destroy();
        const statuses = text.match(/HTTP\/1\.1 \d+/g)?.join();
        const isOwn = statuses === 'HTTP/1.1 401,HTTP/1.1 200' && text.includes(`"url":"${own}"`);
        return isOwn || statuses === 'HTTP/1.1 401';
      }),
    );
    mixed += answers.filter((fine) => !fine).length;
  }
  report(context, {
    'requests behind an unread body: tried': rounds,
    'requests behind an unread body: mixed': mixed,
  });
  expect(mixed).toBe(0);
  expect(gateway.upstream.seen.filter(({ url }) => url === '/public/smuggled')).toEqual([]);
  gateway.upstream.seen.length = 0;
});

test('an upload its upstream does not take is answered, whatever is left of it', async () => {
  gateway.upstream.respond((_request, response) => response.writeHead(413).end('enough'));
  onTestFinished(() => gateway.upstream.respond(undefined));
  const response = await send(`${gateway.url}/public/x`, {
    method: 'POST',
    body: Buffer.alloc(20_000 * KIB),
  });
  expect([response.status, await response.text()]).toEqual([413, 'enough']);
  gateway.upstream.seen.length = 0;
});
