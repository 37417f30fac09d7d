// The person's GitHub token, in the clear, for the moment it is handed to an upstream.
import { GatewayError } from '../errors.ts';
import type { GitHubAccount, Session } from '../policy/session.ts';
import type { TokenCipher } from './token-cipher.ts';
import { type CurrentToken, REFRESH_AHEAD_MS, type RefreshToken } from './token-refresh.ts';

/** A token, when it ends, and until when it may be given without asking again; in epoch milliseconds. */
export interface GivenToken extends CurrentToken {
  readonly keepUntil: number;
}

export type ReadGitHubToken = (session: Session) => Promise<GivenToken>;

/**
 * One that soon ends is replaced meanwhile, one that has ended before it is given.
 *
 * The returned function throws a {@link GatewayError}: reauth-required when none is stored, it has run out or is not to be
 * opened; session-store-unavailable when it is not known; github-unavailable.
 */
export function githubTokenReader(cipher: TokenCipher, refresh: RefreshToken): ReadGitHubToken {
  return async ({ github }) => {
    if (github === undefined) throw new GatewayError('session-store-unavailable');
    if (!github?.encryptedToken) throw new GatewayError('reauth-required');
    const left = (github.tokenExpiresAt ?? Number.POSITIVE_INFINITY) - Date.now();
    if (left <= 0) return { ...(await refresh(github)), keepUntil: 0 };
    // Nobody waits for it, and its failure is told when the token has ended.
    if (left <= REFRESH_AHEAD_MS) refresh(github).catch(() => {});
    return stored(github, github.encryptedToken, cipher);
  };
}

async function stored(
  { tokenExpiresAt: expiresAt }: GitHubAccount,
  encrypted: string,
  cipher: TokenCipher,
): Promise<GivenToken> {
  const token = await cipher.decrypt(encrypted).catch((cause: unknown) => {
    throw new GatewayError('reauth-required', { cause });
  });
  return { token, expiresAt, keepUntil: (expiresAt ?? Number.POSITIVE_INFINITY) - REFRESH_AHEAD_MS };
}
