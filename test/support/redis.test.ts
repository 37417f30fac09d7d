import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { createRedisSpace, type RedisServer, startRedis } from './redis.ts';
import { isAlive } from './servers/processes.ts';
import type { RedisOptions } from './servers/redis-server.ts';

test('two spaces share no key', async () => {
  const [first, second] = [await freshSpace(), await freshSpace()];
  await connected(first).set('key', 'value');
  expect(await connected(first).get('key')).toBe('value');
  expect(await connected(second).get('key')).toBeNull();
});

test('a space that was dropped leaves no key to the next one', async () => {
  const space = await createRedisSpace();
  const client = connected(space.url);
  await client.set('key', 'value');
  await space.drop();
  expect(await client.dbsize()).toBe(0);
});

test('a password is asked for, and the command line goes round it', async () => {
  const server = await privateServer({ password: 'p@ss/word' });
  expect(await connected(server.url).ping()).toBe('PONG');
  const anonymous = connected(`redis://${server.host}:${server.port}`);
  await expect(anonymous.get('key')).rejects.toThrow('NOAUTH');
  await server.cli('CONFIG', 'SET', 'requirepass', 'another');
  await expect(connected(server.url).get('key')).rejects.toThrow('WRONGPASS');
  expect(await server.cli('PING')).toBe('PONG');
});

test('killed and started again it is empty, on the same URL', async () => {
  const server = await privateServer();
  await server.cli('SET', 'key', 'value');
  await server.kill();
  expect(server.pid).toBeUndefined();
  await expect(server.cli('PING')).rejects.toThrow();
  await server.start();
  expect(await connected(server.url).get('key')).toBeNull();
});

test('told to keep its data, it comes back with what it had', async () => {
  const server = await privateServer({ settings: { appendonly: 'yes', appendfsync: 'always' } });
  await server.cli('SET', 'key', 'value');
  await server.kill();
  await server.start();
  expect(await server.cli('GET', 'key')).toBe('value');
});

test('stopped, it can be started again', async () => {
  const server = await privateServer();
  await server.stop();
  await expect(server.cli('PING')).rejects.toThrow();
  await server.start();
  expect(await server.cli('PING')).toBe('PONG');
});

test('while paused it does not answer, and answers when resumed', async () => {
  const server = await privateServer();
  const client = connected(server.url);
  await client.ping();
  server.pause();
  const answer = client.ping();
  expect(await Promise.race([answer, sleep(200, 'silence')])).toBe('silence');
  server.resume();
  expect(await answer).toBe('PONG');
});

test.each(['running', 'paused', 'killed', 'stopped'])(
  'closed when %s, it leaves no process',
  async (state) => {
    const server = await startRedis();
    const pid = Number(server.pid);
    expect(isAlive(pid)).toBe(true);
    if (state === 'paused') server.pause();
    if (state === 'killed') await server.kill();
    if (state === 'stopped') await server.stop();
    await server.close();
    expect(isAlive(pid)).toBe(false);
    expect(existsSync(server.folder)).toBe(false);
  },
);

test('a server that cannot start says why', async () => {
  await expect(startRedis({ settings: { maxmemory: 'plenty' } })).rejects.toThrow('maxmemory');
});

async function freshSpace(): Promise<string> {
  const space = await createRedisSpace();
  onTestFinished(() => space.drop());
  return space.url;
}

async function privateServer(options?: RedisOptions): Promise<RedisServer> {
  const server = await startRedis(options);
  onTestFinished(() => server.close());
  return server;
}

function connected(url: string): Redis {
  const client = new Redis(url, { retryStrategy: () => null });
  client.on('error', () => {});
  onTestFinished(() => client.disconnect());
  return client;
}
