// Opens what Better Auth encrypts for itself (JWE, RFC 7516: alg dir, enc A256CBC-HS512) in one go. Better Auth's own
// reader does the same through WebCrypto, which hands each of its steps to another thread and derives the key each time: a
// few hundred microseconds of CPU, and every session that is new to this process has such a cookie.
import {
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto';

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
  readonly mac: KeyObject;
  readonly cipher: KeyObject;
}

/**
 * @param secrets all that may have encrypted
 * @param use Better Auth's name for this use of a secret
 */
export function jweOpener(secrets: readonly string[], use: string): OpenJwe {
  const keys = secrets.map((secret) => keyOf(secret, use));
  return (jwe) => {
    const [, header, iv, ciphertext, tag] = COMPACT.exec(jwe) ?? [];
    if (!header || !iv || !ciphertext || !tag) return null;
    const { alg, enc, kid, crit, zip } = objectIn(header, 'base64url') ?? {};
    if (alg !== 'dir' || enc !== 'A256CBC-HS512' || crit !== undefined || zip !== undefined) return null;
    for (const key of keys) {
      if (kid !== undefined && kid !== key.id) continue;
      const text = decrypt(key, header, bytes(iv), bytes(ciphertext), bytes(tag));
      const claims = text === null ? null : objectIn(text, 'utf8');
      if (claims !== null) return isCurrent(claims) ? claims : null;
    }
    return null;
  };
}

function keyOf(secret: string, use: string): Key {
  const key = Buffer.from(hkdfSync('sha256', secret, use, INFO, 64));
  const jwk = JSON.stringify({ k: key.toString('base64url'), kty: 'oct' });
  return {
    id: createHash('sha256').update(jwk).digest('base64url'),
    mac: createSecretKey(key.subarray(0, 32)),
    cipher: createSecretKey(key.subarray(32)),
  };
}

/** RFC 7518 section 5.2.2.2: nothing is decrypted that the tag does not vouch for. */
function decrypt(key: Key, header: string, iv: Buffer, ciphertext: Buffer, tag: Buffer): string | null {
  const headerBits = Buffer.alloc(8);
  headerBits.writeUInt32BE(header.length * 8, 4);
  const mac = createHmac('sha512', key.mac).update(header).update(iv).update(ciphertext).update(headerBits);
  if (!timingSafeEqual(mac.digest().subarray(0, 32), tag)) return null;
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

function objectIn(text: string, encoding: 'base64url' | 'utf8'): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(encoding === 'utf8' ? text : bytes(text).toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function bytes(base64url: string): Buffer {
  return Buffer.from(base64url, 'base64url');
}
