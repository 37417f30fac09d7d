// The last rung: the JWE cookie that Better Auth issues beside the session cookie. It answers for seven days whatever
// happens to the session, so it counts only while no store can be asked, only when it is young, and only when nothing
// could have been missed since it was made.
import { LRUCache } from 'lru-cache';
import { isBanned, type Session } from '../policy/session.ts';
import type { RevocationLog } from './revocation-log.ts';
import { type ReadSessionData, sessionDataValue } from './session-data.ts';
import { tokenHash } from './token-hash.ts';

export interface FallbackCookie {
  /** The session in the client's cookie, if it may be believed at this moment. */
  read(cookieHeader: string | undefined, token: string): Session | null;
  /**
   * Should the client be given a new one, because its own is out of date or soon too old to count? Whoever is told so
   * makes it: nobody else is told for a while.
   */
  claimRenewal(session: Session, cookieHeader: string | undefined): boolean;
}

export interface FallbackCookieOptions {
  /** `better-auth.session_data`, with its `__Secure-` prefix where the gateway is served over https. */
  readonly cookieName: string;
  readonly readSessionData: ReadSessionData;
  /** How old it may be, in ms; 0 switches it off. */
  readonly mostAge: number;
  readonly log: RevocationLog;
  /** Epoch milliseconds up to which every change was heard, or null when none is heard at all. */
  readonly heardUntil: () => number | null;
}

/**
 * A cookie tells when it was made, not when the store was read for it; and the clocks of gateways differ. What changed
 * within this time before it was made may not be in it.
 */
const UNCERTAIN_MS = 2000;
const MOST_KNOWN = 100_000;

export function createFallbackCookie(options: FallbackCookieOptions): FallbackCookie {
  const { cookieName, readSessionData, mostAge, log, heardUntil } = options;
  // When the cookie of a session was made, as far as this process has seen; or is being made.
  const known = new LRUCache<string, number>({ max: MOST_KNOWN });

  const isOutdated = (madeAt: number, keys: readonly string[]) =>
    log.isDoubtfulAfter(madeAt - UNCERTAIN_MS, keys);

  const isOld = (session: Session, madeAt: number) => {
    const age = Date.now() - madeAt;
    if (age > mostAge / 2) return true;
    // Made anew at once, it would be no better.
    return age > UNCERTAIN_MS && isOutdated(madeAt, [session.userId]);
  };

  const claimIfOld = (session: Session, value: string) => {
    const told = readSessionData(value);
    if (told?.session.id !== session.id || isOld(session, told.madeAt)) return true;
    known.set(session.id, told.madeAt);
    return false;
  };

  return {
    read(cookieHeader, token) {
      const until = heardUntil();
      const value = mostAge === 0 || until === null ? null : sessionDataValue(cookieHeader, cookieName);
      if (value === null || until === null) return null;
      const told = readSessionData(value);
      if (told?.token !== token) return null;
      const { session, madeAt } = told;
      const now = Date.now();
      if (madeAt > Math.min(now, until) || now - madeAt > mostAge) return null;
      // Who acts as somebody else may do so only for as long as they are an administrator: nobody can tell.
      if (session.impersonatedBy !== null || isBanned(session.ban, now)) return null;
      return isOutdated(madeAt, [tokenHash(token), session.userId]) ? null : session;
    },
    claimRenewal(session, cookieHeader) {
      if (mostAge === 0) return false;
      const madeAt = known.get(session.id);
      if (madeAt !== undefined && !isOld(session, madeAt)) return false;
      // Whoever does not keep such a cookie is not given one.
      const value = sessionDataValue(cookieHeader, cookieName);
      if (value === null) return false;
      known.set(session.id, Date.now());
      return madeAt !== undefined || claimIfOld(session, value);
    },
  };
}
