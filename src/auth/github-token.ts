// The person's GitHub token, in the clear, for the moment it is handed to an upstream.
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError } from '../errors.ts';
import type { GitHubAccount, Session } from '../policy/session.ts';
import type { TokenCipher } from './token-cipher.ts';
import {
  type CurrentToken,
  LAST_MOMENT_MS,
  REFRESH_AHEAD_MS,
  type RefreshToken,
  TokenKept,
} from './token-refresh.ts';

/** A token, when it ends, and until when it may be given without asking again; in epoch milliseconds. */
export interface GivenToken extends CurrentToken {
  readonly keepUntil: number;
}

export type ReadGitHubToken = (session: Session) => Promise<GivenToken>;

/** A request waits so long for GitHub while its token is good. */
const PATIENCE_MS = 2000;

/**
 * One that soon ends is replaced meanwhile, one in its last minutes or after its end before it is given.
 *
 * The returned function throws a {@link GatewayError}: reauth-required when none is stored, it has run out or is not to be
 * opened; github-access-denied when GitHub takes it no longer; session-store-unavailable when it is not known;
 * github-unavailable.
 */
export function githubTokenReader(cipher: TokenCipher, refresh: RefreshToken): ReadGitHubToken {
  return async ({ github }) => {
    if (github === undefined) throw new GatewayError('session-store-unavailable');
    if (!github?.encryptedToken) throw new GatewayError('reauth-required');
    if (github.tokenRefused) throw new GatewayError('github-access-denied');
    const left = (github.tokenExpiresAt ?? Number.POSITIVE_INFINITY) - Date.now();
    if (left <= 0) return { ...(await refresh(github)), keepUntil: 0 };
    if (left <= LAST_MOMENT_MS) {
      const fresh = await inTime(refresh(github));
      if (fresh !== null) return { ...fresh, keepUntil: 0 };
    } else if (left <= REFRESH_AHEAD_MS) {
      // Nobody waits for it, and what goes wrong is told later.
      refresh(github).catch(() => {});
    }
    return stored(github, github.encryptedToken, cipher);
  };
}

/** Null when the token that is there must do: GitHub takes its time, is away, or has no other to give. */
async function inTime(refreshing: Promise<CurrentToken>): Promise<CurrentToken | null> {
  const giveUp = new AbortController();
  const late = sleep(PATIENCE_MS, null, { signal: giveUp.signal }).catch(() => null);
  const fresh = refreshing.catch((error: unknown) => {
    if (error instanceof GatewayError && error.code === 'reauth-required' && !(error instanceof TokenKept))
      throw error;
    return null;
  });
  try {
    return await Promise.race([fresh, late]);
  } finally {
    giveUp.abort();
    fresh.catch(() => {});
  }
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
