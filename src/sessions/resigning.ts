// A session cookie that an older secret has signed is given again, signed with the current one: so that the older can be
// taken out one day, and nobody is signed out by that.
import { ownCookieName, pairsOf } from '../policy/cookies.ts';
import type { Session } from '../policy/session.ts';
import { type FindCookie, verify } from './cookie.ts';

export interface ResignerParts {
  readonly findCookie: FindCookie;
  /** All that may have signed; the first is the current one. */
  readonly secrets: readonly string[];
  /** The Set-Cookie line of the session cookie for so many seconds; null without a valid one in the header. */
  readonly repeatCookie: (cookieHeader: string, maxAge: number) => string | null;
}

/** The Set-Cookie line for a live session whose cookie an older secret has signed; null for all others. */
export type ResignCookie = (session: Session, cookieHeader: string | undefined) => string | null;

export function cookieResigner({ findCookie, secrets, repeatCookie }: ResignerParts): ResignCookie {
  const older = secrets.slice(1);
  return ({ expiresAt }, cookieHeader) => {
    if (older.length === 0 || cookieHeader === undefined || endsWithBrowser(cookieHeader)) return null;
    const found = findCookie(cookieHeader);
    if (found.kind !== 'value' || verify(found.value, older) === null) return null;
    return repeatCookie(cookieHeader, Math.floor((expiresAt - Date.now()) / 1000));
  };
}

/** "Don't remember me": it lives a day at most, and must not be made to outlive the browser. */
function endsWithBrowser(cookieHeader: string): boolean {
  return pairsOf(cookieHeader).some(({ name }) => ownCookieName(name) === 'dont_remember');
}
