// A session that is used does not end: once a day its life is begun anew, by proxied traffic as by any other.
import type { Database } from '../database/database.ts';
import { ownCookieName, pairsOf } from '../policy/cookies.ts';
import type { Session } from '../policy/session.ts';
import { sign } from './cookie.ts';

/** Seconds a session lives after its last extension. */
export const EXPIRES_IN_SECONDS = 7 * 24 * 60 * 60;
/** A session is written at most once in so many seconds. */
export const UPDATE_AGE_SECONDS = 24 * 60 * 60;

export interface SlidingParts {
  readonly database: Database;
  readonly cookieName: string;
  readonly findToken: (cookieHeader: string | undefined) => string | null;
  /** Signs the new cookie. */
  readonly secret: string;
  /** What is known of the session is out of date, here and in Redis. */
  readonly onExtended: (token: string) => Promise<void>;
  /** While the store is away nothing is extended, and nobody waits for it. */
  readonly isStoreAway: () => boolean;
  readonly onError: (error: unknown) => void;
}

/** Extends a session that is due; gives the Set-Cookie line for the client, or null. Never throws. */
export type ExtendSession = (
  session: Session,
  cookieHeader: string | undefined,
) => null | Promise<string | null>;

export function createSlidingExpiry(parts: SlidingParts): ExtendSession {
  const running = new Set<string>();
  const renew = async (session: Session, cookieHeader: string | undefined) => {
    running.add(session.id);
    try {
      const token = parts.findToken(cookieHeader);
      if (token === null) return null;
      const extended = await extend(parts.database, session);
      await parts.onExtended(token);
      return extended ? sessionCookieLine(parts, token, EXPIRES_IN_SECONDS) : null;
    } catch (error) {
      // The session lives on as it is; the next request tries again.
      parts.onError(error);
      return null;
    } finally {
      running.delete(session.id);
    }
  };
  return (session, cookieHeader) => {
    if (!isDue(session, Date.now()) || running.has(session.id)) return null;
    if (endsWithBrowser(cookieHeader) || parts.isStoreAway()) return null;
    return renew(session, cookieHeader);
  };
}

/** Acting as somebody else ends when it was meant to. */
function isDue({ expiresAt, impersonatedBy }: Session, now: number): boolean {
  return impersonatedBy === null && expiresAt - now <= (EXPIRES_IN_SECONDS - UPDATE_AGE_SECONDS) * 1000;
}

/** "Don't remember me": the session ends with the browser, or when its time is over. */
function endsWithBrowser(cookieHeader = ''): boolean {
  return pairsOf(cookieHeader).some(({ name }) => ownCookieName(name) === 'dont_remember');
}

/** False when another gateway was first, or the session is gone: a refresh never brings one back. */
async function extend(database: Database, { id }: Session): Promise<boolean> {
  const now = Date.now();
  const result = await database.kysely
    .updateTable('session')
    .set({ expiresAt: database.date(now + EXPIRES_IN_SECONDS * 1000), updatedAt: database.date(now) })
    .where('id', '=', id)
    .where('expiresAt', '<=', database.date(now + (EXPIRES_IN_SECONDS - UPDATE_AGE_SECONDS) * 1000))
    .where('expiresAt', '>', database.date(now))
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** @param maxAge seconds */
export function sessionCookieLine(
  { cookieName, secret }: Pick<SlidingParts, 'cookieName' | 'secret'>,
  token: string,
  maxAge: number,
): string {
  const secure = cookieName.startsWith('__Secure-') ? '; Secure' : '';
  const attributes = `Max-Age=${maxAge}; Path=/; HttpOnly${secure}; SameSite=Lax`;
  return `${cookieName}=${sign(token, secret)}; ${attributes}`;
}
