import { Redis } from 'ioredis';
import { inject } from 'vitest';
import { callRedis, type RedisOptions, type RedisServer, runRedis } from './servers/redis-server.ts';

export type { RedisServer } from './servers/redis-server.ts';

export type RedisSpace = { url: string; drop(): Promise<void> };

const claimSeconds = 3600;

/**
 * An empty logical database of the Redis all tests share. Keys are separate; pub/sub channels, server settings and
 * statistics are not: a test that touches those takes `startRedis`.
 */
export async function createRedisSpace(): Promise<RedisSpace> {
  const number = await claimDatabase();
  const url = new URL(inject('redisUrl'));
  url.pathname = `/${number}`;
  await callRedis(url.href, ['FLUSHDB']);
  return {
    url: url.href,
    async drop() {
      await callRedis(url.href, ['FLUSHDB']);
      await callRedis(inject('redisUrl'), ['DEL', claimKey(number)]);
    },
  };
}

/** A private Redis, for tests that take it down, set it up or count on it alone. */
export function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  return runRedis(options);
}

/** Test files run in several processes: database 0 is where they agree on who has which number. */
async function claimDatabase(): Promise<number> {
  const [, count] = (await callRedis(inject('redisUrl'), ['CONFIG', 'GET', 'databases'])) as string[];
  for (let number = 1; number < Number(count); number++) {
    const claim = ['SET', claimKey(number), 'taken', 'NX', 'EX', String(claimSeconds)] as const;
    if ((await callRedis(inject('redisUrl'), [...claim])) === 'OK') return number;
  }
  throw new Error('all databases of the shared Redis are taken: a test does not drop its space');
}

function claimKey(number: number): string {
  return `test-space:${number}`;
}

const READ: Readonly<Record<string, string>> = { string: 'get', hash: 'hgetall', set: 'smembers' };

/** Every key and value, as text. */
export async function dumpRedis(url: string): Promise<string> {
  const redis = new Redis(url, { lazyConnect: true, connectTimeout: 2000, retryStrategy: () => null });
  redis.on('error', () => {});
  try {
    await redis.connect();
    const keys = await redis.keys('*');
    const entries = keys.map(async (key) => {
      const type = await redis.type(key);
      // Its time ran out meanwhile.
      if (type === 'none') return [key];
      return [key, await redis.call(READ[type] ?? `no test reads the type ${type}`, key)];
    });
    return JSON.stringify(await Promise.all(entries));
  } finally {
    redis.disconnect();
  }
}

/** One command on a server or space. */
export function askRedis(url: string, ...command: [string, ...string[]]): Promise<unknown> {
  return callRedis(url, command);
}
