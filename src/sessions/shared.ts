// The shared tier: sessions in Redis, for all gateways of one store. Keys are hashes, the GitHub token stays
// encrypted, and every entry is sealed: what Redis returns counts only if a gateway wrote it, for this key, and since
// the last time that deletes may have been missed.
import { hkdfSync, randomUUID, timingSafeEqual } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Session } from '../policy/session.ts';
import { batched } from './batching.ts';
import { FRESH_MS } from './freshness.ts';
import { type Hmac, hmac } from './hmac.ts';
import { NEWS_CHANNEL } from './redis-news.ts';
import { tokenHash } from './token-hash.ts';

export interface SharedTier {
  /** What is cached; null when there is nothing; undefined while Redis is left alone. Throws when it fails. */
  get(token: string): Promise<SharedEntry | null | undefined>;
  /** Resolves to false when it was not written: left alone, or just deleted. Throws when it fails. */
  set(token: string, session: Session): Promise<boolean>;
  /** @param tokenHashes see token-hash.ts */
  forget(tokenHashes: readonly string[]): Promise<void>;
  /** Deletes may have been missed: nothing that is there now counts any more, for no gateway. */
  distrust(): void;
}

export interface SharedEntry {
  readonly session: Session;
  /** When the store was asked, in epoch milliseconds of whoever asked. */
  readonly at: number;
  /** Milliseconds since then. */
  readonly age: number;
  /** Does it spare asking the store? If not, it stands in for a store that does not answer. */
  readonly isFresh: boolean;
}

/** Changes with the shape of an entry: what an older or newer gateway wrote is a miss. */
const SHAPE = 3;
/** How far the clocks of gateways may differ before one does not count what another wrote as fresh. */
const MOST_AHEAD_MS = 15_000;
/** No honest entry is longer; a longer one is not parsed. */
const MAX_ENTRY_LENGTH = 32 * 1024;
/** Entries in one command. */
const MOST_AT_ONCE = 64;
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

export interface SharedTierOptions {
  /** The current auth secret; entries sealed with another one are misses. */
  readonly secret: string;
  /** How long an entry is kept for the time when no store answers, in ms. */
  readonly staleIfError: number;
}

export function createSharedTier(redis: Redis, { secret, staleIfError }: SharedTierOptions): SharedTier {
  const keptSeconds = Math.ceil(Math.max(FRESH_MS, staleIfError) / 1000);
  const sealKey = new Uint8Array(hkdfSync('sha256', secret, '', `gateway shared tier ${SHAPE}`, 32));
  const mac = hmac('sha256', sealKey);
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

  const read = batched<string, SharedEntry | null>(async (keys) => {
    if (epoch === null) {
      await renewEpoch();
      return keys.map(() => null);
    }
    const asked = doubts;
    const [current = null, ...entries] = await ask(() => redis.mget(EPOCH_KEY, ...keys));
    if (asked !== doubts) return keys.map(() => null);
    epoch = current;
    return keys.map((key, at) => {
      const entry = entries[at] ?? null;
      const kept = current === null || entry === null ? null : open(entry, `${current}\n${key}`, mac);
      return kept && asEntry(kept, staleIfError);
    });
  }, MOST_AT_ONCE);

  const write = batched<{ key: string; entry: string }, boolean>(async (all) => {
    const keys = all.map(({ key }) => key);
    const entries = all.map(({ entry }) => entry);
    const written = await redis.eval(SET_UNLESS_GONE, keys.length, ...keys, keptSeconds, ...entries);
    return (written as number[]).map((count) => count === 1);
  }, MOST_AT_ONCE);

  return {
    async get(token) {
      return usable() ? read(keyOf(tokenHash(token))) : undefined;
    },
    async set(token, session) {
      if (!usable() || epoch === null) return false;
      const key = keyOf(tokenHash(token));
      return write({ key, entry: seal({ session, at: Date.now() }, `${epoch}\n${key}`, mac) });
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

/** Whoever read the store before a delete must not write after it. What stands there and is no entry is overwritten. */
const SET_UNLESS_GONE = `
  local written = {}
  for at, key in ipairs(KEYS) do
    written[at] = 0
    if redis.pcall('get', key) ~= '${GONE}' then
      redis.call('set', key, ARGV[at + 1], 'EX', ARGV[1])
      written[at] = 1
    end
  end
  return written`;

async function markGone(redis: Redis, tokenHashes: readonly string[]): Promise<void> {
  const pipeline = redis.pipeline();
  for (const hash of tokenHashes) pipeline.set(keyOf(hash), GONE, 'EX', GONE_SECONDS);
  // Whoever is told finds them deleted. Where that is forbidden, the deletes still count.
  pipeline.publish(NEWS_CHANNEL, tokenHashes.join(' '));
  const results = ((await pipeline.exec()) ?? []).slice(0, tokenHashes.length);
  const failure = results.find(([error]) => error !== null)?.[0];
  if (failure || results.length < tokenHashes.length)
    throw failure ?? new Error('Redis did not carry out every delete');
}

function keyOf(hash: string): string {
  return `gateway:session:${hash}`;
}

/** What stands in Redis: the session, and when the store was asked for it. */
interface Kept {
  readonly session: Session;
  /** Epoch milliseconds. */
  readonly at: number;
}

function asEntry({ session, at }: Kept, staleIfError: number): SharedEntry | null {
  // Another gateway's clock may be ahead of this one's. How old its entries are cannot be told, nor what was revoked since.
  const age = Math.max(0, Date.now() - at);
  const isFresh = age < FRESH_MS && at - Date.now() < MOST_AHEAD_MS;
  return age > Math.max(FRESH_MS, staleIfError) ? null : { session, at, age, isFresh };
}

function seal(kept: Kept, name: string, mac: Hmac): string {
  const body = JSON.stringify(kept);
  return `${mac(`${name}\n${body}`, 'base64url')}.${body}`;
}

function open(entry: string, name: string, mac: Hmac): Kept | null {
  if (entry.length > MAX_ENTRY_LENGTH) return null;
  const dot = entry.indexOf('.');
  const given = Buffer.from(entry.slice(0, dot));
  const body = entry.slice(dot + 1);
  const expected = Buffer.from(mac(`${name}\n${body}`, 'base64url'));
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
  return JSON.parse(body) as Kept;
}
