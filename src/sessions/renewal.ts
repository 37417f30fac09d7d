// What a session that is used needs now and then: a longer life, and a fresh JWE cookie for the time when no store answers.
import type { RenewSession, Session } from '../policy/session.ts';
import type { FallbackCookie } from './fallback-cookie.ts';
import type { ExtendSession } from './sliding.ts';

export interface RenewalParts {
  readonly extend: ExtendSession;
  readonly fallback: FallbackCookie;
  /** Asks the store; gives the Set-Cookie lines of a fresh JWE cookie. */
  readonly issueFallback: (cookieHeader: string) => Promise<readonly string[]>;
  /** While the store is away nothing is renewed, and nobody waits for it. */
  readonly isStoreAway: () => boolean;
  readonly onError: (error: unknown) => void;
}

export function createRenewal(parts: RenewalParts): RenewSession {
  const { extend, fallback, issueFallback, isStoreAway, onError } = parts;
  const issue = async (cookieHeader: string) => {
    try {
      return await issueFallback(cookieHeader);
    } catch (error) {
      // The client keeps the one it has.
      onError(error);
      return [];
    }
  };
  const renew = async (
    cookieHeader: string | undefined,
    extending: Promise<string | null> | null,
    claiming: boolean | Promise<boolean>,
  ) => {
    const extended = await extending;
    const issued = (await claiming) && cookieHeader !== undefined ? await issue(cookieHeader) : [];
    return extended === null ? issued : [extended, ...issued];
  };
  return (session: Session, cookieHeader) => {
    if (isStoreAway()) return null;
    const extending = extend(session, cookieHeader);
    const claiming = fallback.claimRenewal(session, cookieHeader);
    return extending === null && claiming === false ? null : renew(cookieHeader, extending, claiming);
  };
}
