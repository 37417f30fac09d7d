// Opens what Better Auth encrypts for itself (JWE, RFC 7516: alg dir, enc A256CBC-HS512) in one go. Better Auth's own
// reader does the same through WebCrypto, which hands each of its steps to another thread and derives the key each time: a
// few hundred microseconds of CPU, and every session that is new to this process has such a cookie.
import {
  createDecipheriv,
  createSecretKey,
  hash,
  hkdfSync,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto';
import { type Hmac, hmac } from './hmac.ts';

/** What is inside: an object that has not ended, or null for what none of the secrets has encrypted. */
export type OpenJwe = (jwe: string) => Record<string, unknown> | null;

/** In five parts, the second of which, an encrypted key, is empty. */
const COMPACT = /^([\w-]+)\.\.([\w-]{22})\.([\w-]+)\.([\w-]{43})$/;
/** What Better Auth calls the derivation of its keys. */
const INFO = 'BetterAuth.js Generated Encryption Key';
/** How far clocks may differ, in seconds. */
const TOLERANCE = 15;

interface Key {
  /** How a header names it: its thumbprint (RFC 7638). */
  readonly id: string;
  readonly mac: Hmac;
  readonly cipher: KeyObject;
}

/**
 * @param secrets all that may have encrypted
 * @param use Better Auth's name for this use of a secret
 */
export function jweOpener(secrets: readonly string[], use: string): OpenJwe {
  const keys = secrets.map((secret) => keyOf(secret, use));
  // All that is made with one key has the same header.
  let last: { header: string; keys: readonly Key[] } = { header: '', keys: [] };
  return (jwe) => {
    const [, header, iv, ciphertext, tag] = COMPACT.exec(jwe) ?? [];
    if (!header || !iv || !ciphertext || !tag) return null;
    if (header !== last.header) last = { header, keys: keysFor(header, keys) };
    for (const key of last.keys) {
      const text = decrypt(key, header, bytes(iv), bytes(ciphertext), bytes(tag));
      const claims = text === null ? null : objectIn(text);
      if (claims !== null) return isCurrent(claims) ? claims : null;
    }
    return null;
  };
}

/** Those a header may mean; none for what is not made as Better Auth makes it. */
function keysFor(header: string, keys: readonly Key[]): Key[] {
  const { alg, enc, kid, crit, zip } = objectIn(bytes(header).toString()) ?? {};
  if (alg !== 'dir' || enc !== 'A256CBC-HS512' || crit !== undefined || zip !== undefined) return [];
  return keys.filter(({ id }) => kid === undefined || kid === id);
}

function keyOf(secret: string, use: string): Key {
  const key = Buffer.from(hkdfSync('sha256', secret, use, INFO, 64));
  const jwk = JSON.stringify({ k: key.toString('base64url'), kty: 'oct' });
  return {
    id: hash('sha256', jwk, 'base64url'),
    mac: hmac('sha512', key.subarray(0, 32)),
    cipher: createSecretKey(key.subarray(32)),
  };
}

/** RFC 7518 section 5.2.2.2: nothing is decrypted that the tag does not vouch for. */
function decrypt(key: Key, header: string, iv: Buffer, ciphertext: Buffer, tag: Buffer): string | null {
  const headerBits = Buffer.alloc(8);
  headerBits.writeUInt32BE(header.length * 8, 4);
  const mac = key.mac(Buffer.concat([Buffer.from(header), iv, ciphertext, headerBits]), 'binary');
  if (!timingSafeEqual(Buffer.from(mac.slice(0, 32), 'latin1'), tag)) return null;
  try {
    const decipher = createDecipheriv('aes-256-cbc', key.cipher, iv);
    return decipher.update(ciphertext, undefined, 'utf8') + decipher.final('utf8');
  } catch {
    return null;
  }
}

function isCurrent({ exp, nbf }: Record<string, unknown>): boolean {
  const now = Math.floor(Date.now() / 1000);
  const hasEnded = exp !== undefined && !(typeof exp === 'number' && exp > now - TOLERANCE);
  const hasBegun = nbf === undefined || (typeof nbf === 'number' && nbf <= now + TOLERANCE);
  return hasBegun && !hasEnded;
}

function objectIn(json: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function bytes(base64url: string): Buffer {
  return Buffer.from(base64url, 'base64url');
}
