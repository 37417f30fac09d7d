// What a session that is used needs now and then: a longer life, and a fresh JWE cookie for the time when no store answers.
import type { RenewSession, Session } from '../policy/session.ts';
import type { FallbackCookie } from './fallback-cookie.ts';
import type { ResignCookie } from './resigning.ts';
import type { ExtendSession } from './sliding.ts';

export interface RenewalParts {
  readonly extend: ExtendSession;
  readonly fallback: FallbackCookie;
  /** Asks the store; gives the Set-Cookie lines of a fresh JWE cookie. */
  readonly issueFallback: (cookieHeader: string) => Promise<readonly string[]>;
  /** The Set-Cookie line of the session cookie for so many seconds; null without a valid one in the header. */
  readonly repeatCookie: (cookieHeader: string, maxAge: number) => string | null;
  readonly resign: ResignCookie;
  /** While the store is away nothing is renewed, and nobody waits for it. */
  readonly isStoreAway: () => boolean;
  readonly onError: (error: unknown) => void;
}

export function createRenewal(parts: RenewalParts): RenewSession {
  const { extend, fallback, issueFallback, repeatCookie, resign, isStoreAway, onError } = parts;
  const issue = async (session: Session, cookieHeader: string) => {
    try {
      const lines = await issueFallback(cookieHeader);
      // The session may have been given a longer life by a stream, which cannot tell the browser.
      const left = Math.floor((session.expiresAt - Date.now()) / 1000);
      const line = lines.length > 0 ? repeatCookie(cookieHeader, left) : null;
      return line === null ? lines : [line, ...lines];
    } catch (error) {
      // The client keeps the one it has.
      onError(error);
      return [];
    }
  };
  const renew = async (
    session: Session,
    cookieHeader: string | undefined,
    extending: Promise<string | null> | null,
    isClaimed: boolean,
    signedAnew: string | null,
  ) => {
    const extended = (await extending) ?? signedAnew;
    const issued = isClaimed && cookieHeader !== undefined ? await issue(session, cookieHeader) : [];
    // The later line counts.
    return extended === null ? issued : [...issued, extended];
  };
  return (session: Session, cookieHeader) => {
    if (isStoreAway()) return null;
    const extending = extend(session, cookieHeader);
    const isClaimed = fallback.claimRenewal(session, cookieHeader);
    const signedAnew = resign(session, cookieHeader);
    return extending === null && !isClaimed && signedAnew === null
      ? null
      : renew(session, cookieHeader, extending, isClaimed, signedAnew);
  };
}
