// The shared tier: sessions in Redis, for all gateways of one store. Keys are hashes, the GitHub token stays
// encrypted, and every entry is sealed: what Redis returns counts only if a gateway wrote it for this key.
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Session } from '../policy/session.ts';
import { tokenHash } from './token-hash.ts';

export interface SharedTier {
  /** The cached session, or null. Throws when Redis cannot be asked. */
  get(token: string): Promise<Session | null>;
  set(token: string, session: Session): Promise<void>;
  forget(tokens: readonly string[]): Promise<void>;
}

/** How long an entry counts as fresh. */
const FRESH_SECONDS = 60;
/** No honest entry is longer; a longer one is not parsed. */
const MAX_ENTRY_LENGTH = 32 * 1024;

/** @param secret the current auth secret; entries sealed with another one are misses */
export function createSharedTier(redis: Redis, secret: string): SharedTier {
  const sealKey = Buffer.from(hkdfSync('sha256', secret, '', 'gateway shared tier', 32));
  return {
    async get(token) {
      const key = keyOf(token);
      const entry = await redis.get(key);
      return entry === null ? null : open(entry, key, sealKey);
    },
    async set(token, session) {
      const key = keyOf(token);
      await redis.set(key, seal(session, key, sealKey), 'EX', FRESH_SECONDS);
    },
    async forget(tokens) {
      if (tokens.length > 0) await redis.del(...tokens.map(keyOf));
    },
  };
}

function keyOf(token: string): string {
  return `gateway:session:${tokenHash(token)}`;
}

function seal(session: Session, key: string, sealKey: Buffer): string {
  const body = JSON.stringify(session);
  return `${mac(body, key, sealKey)}.${body}`;
}

function open(entry: string, key: string, sealKey: Buffer): Session | null {
  if (entry.length > MAX_ENTRY_LENGTH) return null;
  const dot = entry.indexOf('.');
  const given = Buffer.from(entry.slice(0, dot));
  const body = entry.slice(dot + 1);
  const expected = Buffer.from(mac(body, key, sealKey));
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
  return JSON.parse(body) as Session;
}

function mac(body: string, key: string, sealKey: Buffer): string {
  return createHmac('sha256', sealKey).update(key).update('\n').update(body).digest('base64url');
}
