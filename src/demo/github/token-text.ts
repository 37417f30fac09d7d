import { randomBytes, randomInt } from 'node:crypto';

/** Classic and fine-grained are personal access tokens; `oauth` belongs to an OAuth App, `app` to a GitHub App. */
export type TokenKind = 'classic' | 'fine-grained' | 'oauth' | 'app';

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

const makers: Record<TokenKind, () => string> = {
  classic: () => `ghp_${base62(36)}`,
  'fine-grained': () => `github_pat_${base62(22)}_${base62(59)}`,
  oauth: () => `gho_${base62(36)}`,
  app: () => `ghu_${base62(36)}`,
};

/** A new access token with the prefix and length of its kind. */
export function newTokenText(kind: TokenKind): string {
  return makers[kind]();
}

/** A new refresh token: `ghr_` and 76 characters. */
export function newRefreshText(): string {
  return `ghr_${base62(76)}`;
}

/** A new authorization code: 20 hexadecimal digits. */
export function newCodeText(): string {
  return randomBytes(10).toString('hex');
}

function base62(length: number): string {
  return Array.from({ length }, () => alphabet.charAt(randomInt(62))).join('');
}
