import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { createDatabase, type PostgresServer, startPostgres } from './postgres.ts';
import { childrenOf, isAlive } from './servers/processes.ts';

test('two databases share nothing', async () => {
  const [first, second] = [await freshDatabase(), await freshDatabase()];
  await query(first, 'create table only_here (id int)');
  expect(await query(first, `select to_regclass('only_here') is not null as known`)).toEqual([
    { known: true },
  ]);
  expect(await query(second, `select to_regclass('only_here') is not null as known`)).toEqual([
    { known: false },
  ]);
});

test('a database can be dropped while somebody is connected to it', async () => {
  const database = await createDatabase();
  const client = await connected(database.url);
  await database.drop();
  await expect(client.query('select 1')).rejects.toThrow();
  await expect(connected(database.url)).rejects.toThrow('does not exist');
});

test('a wrong password is refused', async () => {
  const url = Object.assign(new URL(await freshDatabase()), { password: 'wrong' });
  await expect(connected(url.href)).rejects.toThrow('password authentication failed');
});

test('what was committed survives a kill and a restart, on the same URL', async () => {
  const server = await privateServer();
  await query(server.url, 'create table kept as select 1 as id');
  await server.kill();
  await expect(connected(server.url)).rejects.toThrow('ECONNREFUSED');
  await server.start();
  expect(await query(server.url, 'select id from kept')).toEqual([{ id: 1 }]);
});

test('a stop ends open connections and a start brings it back', async () => {
  const server = await privateServer();
  const client = await connected(server.url);
  await server.stop();
  expect(server.pid).toBeUndefined();
  await expect(client.query('select 1')).rejects.toThrow();
  await server.start();
  expect(await query(server.url, 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('while paused it answers neither old nor new connections, and answers both when resumed', async () => {
  const server = await privateServer();
  const client = await connected(server.url);
  server.pause();
  const answers = Promise.all([client.query('select 1'), query(server.url, 'select 1')]);
  expect(await Promise.race([answers, sleep(300, 'silence')])).toBe('silence');
  server.resume();
  await answers;
});

test.each(['running', 'paused', 'killed', 'stopped'])(
  'closed when %s, it leaves no process',
  async (state) => {
    const server = await startPostgres();
    const pids = processesOf(server);
    if (state === 'paused') server.pause();
    if (state === 'killed') await server.kill();
    if (state === 'stopped') await server.stop();
    await server.close();
    expect(pids.length).toBeGreaterThan(1);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(existsSync(server.folder)).toBe(false);
  },
);

test('settings are taken over', async () => {
  const server = await privateServer({ max_connections: '13' });
  expect(await query(server.url, 'show max_connections')).toEqual([{ max_connections: '13' }]);
});

test('a server that cannot start says why', async () => {
  await expect(startPostgres({ settings: { max_connections: 'many' } })).rejects.toThrow('max_connections');
});

async function freshDatabase(): Promise<string> {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  return database.url;
}

async function privateServer(settings?: Record<string, string>): Promise<PostgresServer> {
  const server = await startPostgres({ settings });
  onTestFinished(() => server.close());
  return server;
}

function processesOf({ pid }: PostgresServer): number[] {
  return pid === undefined ? [] : [pid, ...childrenOf(pid)];
}

async function connected(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

async function query(url: string, statement: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(statement)).rows;
  } finally {
    await client.end();
  }
}
