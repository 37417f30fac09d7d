// The connection to Redis. Its defaults wait for seconds, or for ever: a cache that is slower than asking the store
// is no cache.
import { once } from 'node:events';
import { Redis } from 'ioredis';

const CONNECT_TIMEOUT_MS = 500;

/**
 * Waits for the first connection, but not long: a gateway whose Redis is away works without it.
 *
 * @param onError told of broken connections; they are tried again by themselves
 */
export async function openRedis(url: string, onError: (error: unknown) => void): Promise<Redis> {
  const redis = new Redis(url, {
    maxRetriesPerRequest: 1,
    enableOfflineQueue: false,
    // A command sent again after a gap would undo what happened in between.
    autoResendUnfulfilledCommands: false,
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: 100,
    // While Redis loads it only guesses how long that takes.
    maxLoadingRetryTime: 1000,
    retryStrategy: (attempt) => Math.min(50 * 2 ** attempt, 1000),
    connectionName: 'better-hub-gateway',
  });
  redis.on('error', onError);
  await once(redis, 'ready', { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) }).catch(onError);
  return redis;
}
