// Upstream and stores, real ones, on cores apart from the measured server's.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { runPostgres } from '../test/support/servers/postgres-server.ts';
import { runRedis } from '../test/support/servers/redis-server.ts';
import type { Surroundings } from './contender.ts';
import { moveTo } from './cores.ts';
import { startScript } from './processes.ts';

export async function startSurroundings(
  opened: AsyncDisposableStack,
  manySessions: number,
): Promise<Surroundings> {
  const upstream = await startScript('servers/upstream.ts', [], { role: 'upstream' });
  opened.defer(() => upstream.close());
  const pids: number[] = [];
  const put = (pid: number | undefined) => {
    if (pid === undefined) return;
    moveTo('stores', pid);
    pids.push(pid);
  };
  const made = new Map<string, Promise<unknown>>();
  const once = <T>(name: string, make: () => Promise<T>): Promise<T> => {
    const value = (made.get(name) as Promise<T> | undefined) ?? make();
    made.set(name, value);
    return value;
  };
  let databases = 0;
  return {
    upstreamUrl: upstream.url,
    opened,
    manySessions,
    async database() {
      const serverUrl = await once('Postgres', () => openPostgres(opened, put));
      return createDatabase(serverUrl, `bench_${++databases}`);
    },
    async redis() {
      const redis = await runRedis();
      opened.defer(() => redis.close());
      put(redis.pid);
      return redis.url;
    },
    storePids: () => pids,
    once,
    async folder(name) {
      const folder = await mkdtemp(join(tmpdir(), `gateway-bench-${name}-`));
      opened.defer(() => rm(folder, { recursive: true, force: true }));
      // Web servers started by root work as another user.
      await chmod(folder, 0o755);
      return folder;
    },
  };
}

async function openPostgres(
  opened: AsyncDisposableStack,
  put: (pid: number | undefined) => void,
): Promise<string> {
  const postgres = await runPostgres({ settings: { shared_buffers: '512MB', max_wal_size: '4GB' } });
  opened.defer(() => postgres.close());
  put(postgres.pid);
  return postgres.url;
}

async function createDatabase(serverUrl: string, name: string): Promise<string> {
  const client = new Client({ connectionString: serverUrl });
  await client.connect();
  await client.query(`create database ${name}`);
  await client.end();
  const url = new URL(serverUrl);
  url.pathname = name;
  return url.href;
}
