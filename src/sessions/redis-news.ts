// What other gateways forgot, told through Redis: for gateways that cannot listen to Postgres, where there are no
// triggers, or for as long as the listening connection is lost.
import type { Redis } from 'ioredis';

/** Messages are token hashes with spaces between; see token-hash.ts. */
export const NEWS_CHANNEL = 'gateway:forgotten';

const RETRY_MS = 1000;

/**
 * Over a connection of its own; it is made again by itself when it breaks. What is said meanwhile is not heard.
 *
 * @returns a function that ends it
 */
export function hearThroughRedis(redis: Redis, onForgotten: (tokenHash: string) => void): () => void {
  const subscriber = redis.duplicate({
    connectionName: 'better-hub-gateway news',
    autoResubscribe: false,
    retryStrategy: () => RETRY_MS,
  });
  let timer: NodeJS.Timeout | undefined;
  const subscribe = () => {
    clearTimeout(timer);
    subscriber.subscribe(NEWS_CHANNEL).catch(() => {
      timer = setTimeout(subscribe, RETRY_MS).unref();
    });
  };
  // That Redis is away is said by those who ask it.
  subscriber.on('error', () => {});
  subscriber.on('ready', subscribe);
  subscriber.on('message', (_channel, message) => {
    for (const hash of message.split(' ')) onForgotten(hash);
  });
  return () => {
    clearTimeout(timer);
    subscriber.disconnect();
  };
}
