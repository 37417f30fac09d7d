// The connection to Redis. Its defaults wait for seconds, or for ever: a cache that is slower than asking the store
// is no cache.
import { Redis } from 'ioredis';

/** @param onError told of broken connections; they are tried again by themselves */
export function openRedis(url: string, onError: (error: unknown) => void): Redis {
  const redis = new Redis(url, {
    maxRetriesPerRequest: 1,
    enableOfflineQueue: false,
    connectTimeout: 500,
    commandTimeout: 100,
    retryStrategy: (attempt) => Math.min(50 * 2 ** attempt, 1000),
    connectionName: 'better-hub-gateway',
  });
  redis.on('error', onError);
  return redis;
}
