import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { makeServerFolder, writeServerFile } from './account.ts';
import { requireBinaries } from './binaries.ts';
import { runServer, type ServerControls } from './server.ts';

export type RedisOptions = {
  /** Of the default user; without one, no password is asked for. */
  password?: string;
  /** Lines of redis.conf, such as `{ appendonly: 'yes', maxmemory: '2mb' }`. By default nothing is kept on disk. */
  settings?: Record<string, string>;
};

export type RedisServer = ServerControls & {
  url: string;
  /** Runs one command and gives its reply, whatever has become of the default user's password or rights. */
  cli(...command: [string, ...string[]]): Promise<unknown>;
};

/** Starts a Redis of its own, on a free port of 127.0.0.1 and in a fresh temporary folder. */
export async function runRedis({ password, settings }: RedisOptions = {}): Promise<RedisServer> {
  const folder = await makeServerFolder('redis');
  const control = randomBytes(18).toString('base64url');
  const lines = { bind: '127.0.0.1', dir: folder, save: '', ...settings };
  const cli = (port: number, command: [string, ...string[]]) =>
    callRedis(`redis://control:${control}@127.0.0.1:${port}`, command);
  const configuration = join(folder, 'redis.conf');
  await writeServerFile(configuration, redisConf({ ...lines, requirepass: password ?? '' }, control));
  const server = await runServer({
    name: 'Redis',
    folder,
    command: (port) => ({
      program: requireBinaries().redis,
      args: [configuration, '--port', String(port)],
    }),
    stopSignal: 'SIGTERM',
    endSignal: 'KILL',
    ask: async (port) => void (await cli(port, ['PING'])),
  });
  const credential = password === undefined ? '' : `:${encodeURIComponent(password)}@`;
  return Object.assign(server, {
    url: `redis://${credential}127.0.0.1:${server.port}`,
    cli: (...command: [string, ...string[]]) => cli(server.port, command),
  });
}

function redisConf(lines: Record<string, string>, control: string): string {
  const settings = Object.entries(lines).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  return [...settings, `user control on >${control} ~* &* +@all`, ''].join('\n');
}

/** Runs one command on a connection of its own, and fails when Redis does not answer within two seconds. */
export async function callRedis(url: string, [name, ...args]: [string, ...string[]]): Promise<unknown> {
  const connection = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 2000,
    commandTimeout: 2000,
    retryStrategy: () => null,
  });
  connection.on('error', () => {});
  try {
    await connection.connect();
    return await connection.call(name, ...args);
  } finally {
    connection.disconnect();
  }
}
