import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';

let echo: Server;
let proxy: FaultProxy;

beforeEach(async () => {
  echo = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  proxy = await startFaultProxy({ host: '127.0.0.1', port: (echo.address() as AddressInfo).port });
});

afterEach(async () => {
  await proxy.close();
  echo.close();
});

test('without a fault it passes bytes both ways and the end of each', async () => {
  const client = await join();
  const body = Buffer.alloc(8 * 1024 * 1024, 'abc');
  const answer = readAll(client);
  client.end(body);
  expect((await answer).equals(body)).toBe(true);
});

test('it puts its own address into a URL', () => {
  expect(proxy.url('redis://:secret@10.0.0.1:6379/3')).toBe(`redis://:secret@127.0.0.1:${proxy.port}/3`);
  expect(proxy.url('http://upstream/path?x=1')).toBe(`http://127.0.0.1:${proxy.port}/path?x=1`);
});

test('it counts the connections that are open', async () => {
  const [first] = [await join(), await join()];
  await expect.poll(() => proxy.connections).toBe(2);
  first.destroy();
  await expect.poll(() => proxy.connections).toBe(1);
});

test('a delay holds answers back, in order, and lengthens no transfer', async () => {
  const client = await join();
  proxy.delay(300);
  const begin = performance.now();
  for (let turn = 0; turn < 20; turn++) client.write(`${turn},`);
  client.end();
  const text = String(await readAll(client));
  const took = performance.now() - begin;
  expect(text).toBe(Array.from({ length: 20 }, (_, turn) => `${turn},`).join(''));
  expect(took).toBeGreaterThan(290);
  expect(took).toBeLessThan(20 * 300);
});

test('a black hole keeps connections open and silent, and gives everything back when healed', async () => {
  const before = await join();
  proxy.blackhole();
  const during = await join();
  before.write('before');
  during.write('during');
  const answers = Promise.all([once(before, 'data'), once(during, 'data')]);
  expect(await Promise.race([answers, sleep(200, 'silence')])).toBe('silence');
  proxy.blackhole();
  expect(await Promise.race([answers, sleep(50, 'silence')])).toBe('silence');
  await proxy.heal();
  expect(String(await answers)).toBe('before,during');
});

test('refusing resets what is open and refuses what is new, until healed', async () => {
  const open = await join();
  const cut = failure(open);
  await proxy.refuse();
  expect(await cut).toBe('ECONNRESET');
  await expect(join()).rejects.toThrow('ECONNREFUSED');
  await proxy.heal();
  await expectEcho(await join());
});

test('resetting cuts what is open and each new connection, until healed', async () => {
  const cut = failure(await join());
  proxy.reset();
  expect(await cut).toBe('ECONNRESET');
  expect(await failure(connect(proxy.port, proxy.host))).toBe('ECONNRESET');
  await proxy.heal();
  await expectEcho(await join());
});

test('a target that is down resets its clients', async () => {
  echo.close();
  expect(await failure(connect(proxy.port, proxy.host))).toBe('ECONNRESET');
});

test('a client that goes away is taken off the target', async () => {
  const accepted = once(echo, 'connection');
  const client = await join();
  const [served] = (await accepted) as [Socket];
  const gone = new Promise((resolve) => served.on('close', resolve));
  client.resetAndDestroy();
  await gone;
});

async function join(): Promise<Socket> {
  const client = connect({ host: proxy.host, port: proxy.port, allowHalfOpen: true });
  onTestFinished(() => void client.destroy());
  await once(client, 'connect');
  return client;
}

async function readAll(client: Socket): Promise<Buffer> {
  return Buffer.concat(await client.toArray());
}

async function failure(client: Socket): Promise<string> {
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
  return String(error.code);
}

async function expectEcho(client: Socket): Promise<void> {
  const answer = once(client, 'data');
  client.write('hello');
  expect(String(await answer)).toBe('hello');
}
