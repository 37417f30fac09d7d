// How GitHub tokens are kept: AES-256-GCM with a named key, or Better Auth's own format. Both are always read.
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { symmetricDecrypt, symmetricEncrypt } from 'better-auth/crypto';
import type { TokenKey, VersionedSecret } from './keys.ts';

export interface TokenCipher {
  encrypt(token: string): Promise<string>;
  /** @throws {UndecryptableToken} for anything that no known key has encrypted, plaintext included */
  decrypt(stored: string): Promise<string>;
  /** Would it be written the same way now: in this format, under this key? */
  isCurrent(stored: string): boolean;
}

/** The stored value cannot be turned back into a token. Its text never holds the value. */
export class UndecryptableToken extends Error {
  constructor(why: string, cause?: unknown) {
    super(`A stored GitHub token cannot be decrypted: ${why}`, { cause });
    this.name = 'UndecryptableToken';
  }
}

export interface TokenCipherOptions {
  /** The first encrypts, all decrypt. Derived from the secrets when empty. */
  readonly tokenKeys: readonly TokenKey[];
  readonly secrets: readonly VersionedSecret[];
  readonly format: 'aes-256-gcm' | 'better-auth';
}

const OURS = /^v1\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]+)$/;
const BETTER_AUTH = /^(\$ba\$\d+\$)?[0-9a-f]{80,}$/;
const BARE = /^[0-9a-f]{80,}$/;

export function createTokenCipher({ tokenKeys, secrets, format }: TokenCipherOptions): TokenCipher {
  // Derived keys stay known beside configured ones: tokens from before the switch go on opening.
  const keys = [...tokenKeys, ...secrets.map(deriveKey)];
  const current = keys[0];
  if (!current) throw new Error('No key for GitHub tokens: there is neither a token key nor a secret');
  const byId = new Map(keys.map(({ id, key }) => [id, createSecretKey(key)]));
  const secretConfig = betterAuthSecrets(secrets);
  const isBare = typeof secretConfig === 'string';
  const prefix = format === 'aes-256-gcm' ? `v1.${current.id}.` : isBare ? '' : `$ba$${secrets[0]?.version}$`;
  return {
    isCurrent: (stored) =>
      stored.startsWith(prefix) && (format === 'aes-256-gcm' || BARE.test(stored.slice(prefix.length))),
    async encrypt(token) {
      if (format === 'better-auth') return symmetricEncrypt({ key: secretConfig, data: token });
      return encryptWith(current, token);
    },
    async decrypt(stored) {
      const parts = OURS.exec(stored);
      if (parts) return decryptWith(byId, parts);
      if (BETTER_AUTH.test(stored)) return decryptBetterAuth(stored, secrets);
      throw new UndecryptableToken('it is in no known format');
    },
  };
}

function encryptWith({ id, key }: TokenKey, token: string): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  // The key's name is authenticated, too: an entry cannot be relabelled.
  cipher.setAAD(Buffer.from(`v1.${id}`));
  const data = Buffer.concat([cipher.update(token, 'utf8'), cipher.final()]);
  return ['v1', id, ...[iv, cipher.getAuthTag(), data].map((part) => part.toString('base64url'))].join('.');
}

function decryptWith(keys: ReadonlyMap<string, KeyObject>, parts: readonly string[]): string {
  const [, id = '', iv = '', tag = '', data = ''] = parts;
  const key = keys.get(id);
  if (!key) throw new UndecryptableToken(`its key ${id} is not configured`);
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(iv, 'base64url'), {
      authTagLength: 16,
    });
    decipher.setAAD(Buffer.from(`v1.${id}`));
    decipher.setAuthTag(Buffer.from(tag, 'base64url'));
    return Buffer.concat([decipher.update(data, 'base64url'), decipher.final()]).toString('utf8');
  } catch (error) {
    throw new UndecryptableToken('it was changed, or its key is another one', error);
  }
}

/** Better Auth names a key only when it has several; a bare value may be of any secret. */
async function decryptBetterAuth(stored: string, secrets: readonly VersionedSecret[]): Promise<string> {
  const [, version, bare = stored] = /^\$ba\$(\d+)\$(.*)$/.exec(stored) ?? [];
  const candidates = secrets.filter((secret) => version === undefined || secret.version === Number(version));
  for (const { value } of candidates) {
    const token = await symmetricDecrypt({ key: value, data: bare }).catch(() => null);
    if (token !== null) return token;
  }
  throw new UndecryptableToken('no secret opens it');
}

function betterAuthSecrets(secrets: readonly VersionedSecret[]) {
  const [first] = secrets;
  if (secrets.length === 1 && first?.version === 0) return first.value;
  return {
    keys: new Map(secrets.map(({ version, value }) => [version, value])),
    currentVersion: first?.version ?? 0,
  };
}

/** The key's id tells the secret it came from, so that tokens find their key whatever the order of secrets. */
function deriveKey({ value }: VersionedSecret): TokenKey {
  const key = Buffer.from(hkdfSync('sha256', value, '', 'gateway github tokens', 32));
  const id = `s-${createHash('sha256').update(key).digest('base64url').slice(0, 8)}`;
  return { id, key };
}
