// The shared tier: sessions in Redis, for all gateways of one store. Keys are hashes, the GitHub token stays
// encrypted, and every entry is sealed: what Redis returns counts only if a gateway wrote it, for this key, and since
// the last time that deletes may have been missed.
import { createHmac, hkdfSync, randomUUID, timingSafeEqual } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Session } from '../policy/session.ts';
import { tokenHash } from './token-hash.ts';

export interface SharedTier {
  /** The cached session; null when there is none; undefined while Redis is left alone. Throws when it fails. */
  get(token: string): Promise<Session | null | undefined>;
  set(token: string, session: Session): Promise<void>;
  /** @param tokenHashes see token-hash.ts */
  forget(tokenHashes: readonly string[]): Promise<void>;
  /** Deletes may have been missed: nothing that is there now counts any more, for no gateway. */
  distrust(): void;
}

/** Changes with the shape of a session: what an older or newer gateway wrote is a miss. */
const SHAPE = 1;
/** How long an entry counts as fresh. */
const FRESH_SECONDS = 60;
/** No honest entry is longer; a longer one is not parsed. */
const MAX_ENTRY_LENGTH = 32 * 1024;
/** After a failure Redis is left alone for so long: a tier that has to be waited for is no cache. */
const REST_MS = 1000;
/** How long a deleted entry's place is kept, so that an answer read before the delete is not written after it. */
const GONE_SECONDS = 3;
const GONE = '-';

/**
 * Entries belong to an epoch, a name that is kept in Redis beside them. A delete that failed, or a connection that was
 * away, may have left entries behind that should be gone, as may a Redis that comes back with old ones: then a new
 * epoch is begun, and what is of another one no longer counts.
 */
const EPOCH_KEY = 'gateway:epoch';

/** @param secret the current auth secret; entries sealed with another one are misses */
export function createSharedTier(redis: Redis, secret: string): SharedTier {
  const sealKey = Buffer.from(hkdfSync('sha256', secret, '', `gateway shared tier ${SHAPE}`, 32));
  // Null while the next question must begin a new one. `doubts` tells a question that it was overtaken.
  let epoch: string | null = null;
  let doubts = 0;
  let renewing: Promise<void> | null = null;
  let restUntil = 0;

  const distrust = () => {
    epoch = null;
    doubts++;
  };

  redis.on('ready', () => {
    distrust();
    restUntil = 0;
  });

  const ask = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      restUntil = performance.now() + REST_MS;
      throw error;
    }
  };

  const renewEpoch = () => {
    const next = randomUUID();
    const asked = doubts;
    renewing ??= ask(() => redis.set(EPOCH_KEY, next))
      .then(() => {
        if (asked === doubts) epoch = next;
      })
      .finally(() => {
        renewing = null;
      });
    return renewing;
  };

  const usable = () => performance.now() >= restUntil;

  return {
    async get(token) {
      if (!usable()) return undefined;
      if (epoch === null) {
        await renewEpoch();
        return null;
      }
      const key = keyOf(tokenHash(token));
      const asked = doubts;
      const [current, entry] = await ask(() => redis.mget(EPOCH_KEY, key));
      if (asked !== doubts) return null;
      epoch = current ?? null;
      return epoch === null || entry == null ? null : open(entry, `${epoch}\n${key}`, sealKey);
    },
    async set(token, session) {
      if (!usable() || epoch === null) return;
      const key = keyOf(tokenHash(token));
      await ask(() => redis.set(key, seal(session, `${epoch}\n${key}`, sealKey), 'EX', FRESH_SECONDS, 'NX'));
    },
    async forget(tokenHashes) {
      if (tokenHashes.length === 0) return;
      try {
        await ask(() => markGone(redis, tokenHashes));
      } catch (error) {
        distrust();
        throw error;
      }
    },
    distrust,
  };
}

async function markGone(redis: Redis, tokenHashes: readonly string[]): Promise<void> {
  const pipeline = redis.pipeline();
  for (const hash of tokenHashes) pipeline.set(keyOf(hash), GONE, 'EX', GONE_SECONDS);
  const results = (await pipeline.exec()) ?? [];
  const failure = results.find(([error]) => error !== null)?.[0];
  if (failure || results.length < tokenHashes.length)
    throw failure ?? new Error('Redis did not carry out every delete');
}

function keyOf(hash: string): string {
  return `gateway:session:${hash}`;
}

function seal(session: Session, name: string, sealKey: Buffer): string {
  const body = JSON.stringify(session);
  return `${mac(body, name, sealKey)}.${body}`;
}

function open(entry: string, name: string, sealKey: Buffer): Session | null {
  if (entry.length > MAX_ENTRY_LENGTH) return null;
  const dot = entry.indexOf('.');
  const given = Buffer.from(entry.slice(0, dot));
  const body = entry.slice(dot + 1);
  const expected = Buffer.from(mac(body, name, sealKey));
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
  return JSON.parse(body) as Session;
}

function mac(body: string, name: string, sealKey: Buffer): string {
  return createHmac('sha256', sealKey).update(name).update('\n').update(body).digest('base64url');
}
