// What clients see of a gateway that ends. Streams and WebSockets are in streams/shutdown.test.ts.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { startKeptClients } from '../support/kept-clients.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { send } from '../support/send.ts';

/** Clients that send on connections they keep. */
const KEPT = scale({ quick: 20, full: 200 });
/** The most an end may take that waits for nobody's request; the gateway's own wait is 1 s. */
const SOON_MS = 5000;

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ stores: 'sqlite', logLevel: 'error' });
});
afterEach(() => gateway.upstream.respond(undefined));
afterAll(() => gateway?.close());

let started = 0;
const startAnother = async () => {
  const beside = await gateway.another({ DATA_DIR: `${gateway.config.dataDir}-${started++}` });
  onTestFinished(() => beside.close());
  return beside;
};
const open = async ({ url }: TestGateway): Promise<Socket> => {
  const socket = connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {});
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
};
/** @returns a promise in an object: it is not to be awaited yet */
const beginToClose = async ({ app }: TestGateway) => {
  const closed = app.close();
  await expect.poll(() => app.server.listening).toBe(false);
  return { closed };
};
const HEAD = 'GET /public/x HTTP/1.1\r\nHost: x\r\n';

test(
  'clients that send on their kept connections all the while see no failure',
  UNHURRIED,
  async (context) => {
    const beside = await startAnother();
    const clients = startKeptClients(beside.url, KEPT);
    await expect.poll(() => clients.answered(), { timeout: 60_000 }).toBeGreaterThan(KEPT * 5);
    const from = performance.now();
    await beside.app.close();
    const endedWithinMs = Math.round(performance.now() - from);
    // None of them was left without knowing.
    await expect.poll(() => clients.refused()).toBe(KEPT);
    const failures = await clients.stop();
    report(context, {
      keptConnections: KEPT,
      answered: clients.answered(),
      failed: failures.length,
      endedWithinMs,
    });
    expect(failures).toEqual([]);
  },
);

test.each([
  ['has had an answer', `${HEAD}\r\n`, `${HEAD}\r\n`],
  ['has sent nothing yet', '', `${HEAD}\r\n`],
  ['has sent half a head', HEAD, '\r\n'],
])('a connection that %s is answered with Connection: close', async (_what, before, after) => {
  const beside = await startAnother();
  const socket = await open(beside);
  if (before !== '') socket.write(before);
  if (before.endsWith('\r\n\r\n')) await once(socket, 'data');
  const { closed } = await beginToClose(beside);
  socket.write(after);
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 OK\r\n(.*\r\n)*connection: close\r\n/im);
  await closed;
});

test('an answer that has begun when the end begins leaves its connection open for one more', async () => {
  const beside = await startAnother();
  const begun = Promise.withResolvers<() => void>();
  gateway.upstream.respond((_request, response) => {
    response.write('begun,');
    begun.resolve(() => response.end('ended'));
  });
  const socket = await open(beside);
  const received = text(socket.on('data', () => {}));
  socket.write(`${HEAD}\r\n`);
  const end = await begun.promise;
  await once(socket, 'data');
  const { closed } = await beginToClose(beside);
  gateway.upstream.respond((_request, response) => void response.end('one more'));
  end();
  await once(socket, 'data');
  socket.write(`${HEAD}\r\n`);
  expect((await received).replaceAll(/\r\n[\da-f]+\r\n/g, '\n')).toMatch(/begun,.*ended.*one more/s);
  await closed;
});

test('a gateway that closes waits for the request under way, and not for connections without one', async () => {
  const beside = await startAnother();
  const silent = await Promise.all(
    ['', HEAD, `${HEAD.replace('/x', '/silent')}\r\n`].map(async (bytes) => {
      const socket = await open(beside);
      socket.resume().write(bytes);
      return { closed: once(socket, 'close') };
    }),
  );
  const { seen } = gateway.upstream;
  await expect.poll(() => seen.some(({ url }) => url === '/public/silent')).toBe(true);
  const arriving = Promise.withResolvers<() => void>();
  gateway.upstream.respond((_request, response) => arriving.resolve(() => response.end('answered')));
  const answering = send(`${beside.url}/public/under-way`);
  const answer = await arriving.promise;
  const from = performance.now();
  const closing = beside.app.close();
  await Promise.all(silent.map(({ closed }) => closed));
  expect(performance.now() - from).toBeLessThan(SOON_MS);
  answer();
  expect(await (await answering).text()).toBe('answered');
  await closing;
});
