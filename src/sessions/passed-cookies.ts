// Our cookies as a service may see them that reads sessions itself (cookies: pass). It knows one secret to verify with, and
// takes a JWE cookie for the truth, whoever's it is and whatever became of the session: so signatures of older secrets are
// renewed, and the JWE cookie goes up only with the session it tells of, and only while it tells the truth.
import { LRUCache } from 'lru-cache';
import { type CookiePair, type OwnCookie, ownCookieName, pairsOf } from '../policy/cookies.ts';
import type { PassCookies, Session } from '../policy/session.ts';
import { type FindCookie, sign, type VerifyToken, verify } from './cookie.ts';
import { type SessionData, sessionDataReader, sessionDataValue } from './session-data.ts';
import { tokenHash } from './token-hash.ts';

export interface PassedCookiesOptions {
  /** `better-auth.`, with `__Secure-` where the gateway is served over https. */
  readonly cookiePrefix: string;
  readonly findCookie: FindCookie;
  readonly verifyToken: VerifyToken;
  /** All that may have signed; the service knows the first. */
  readonly secrets: readonly string[];
}

const SIGNED: ReadonlySet<OwnCookie> = new Set(['session_token', 'dont_remember', 'admin_session']);
const MOST_KNOWN = 20_000;

export function passedCookies(options: PassedCookiesOptions): PassCookies {
  const { cookiePrefix, findCookie, secrets } = options;
  const tellsTruth = truthTeller(options);
  return (header, session) => {
    const pairs = pairsOf(header);
    const withData = session ? tellsTruth(header, session) : false;
    // Two session cookies of different value count for nobody.
    const isAnonymous = session === null || findCookie(header).kind === 'invalid';
    const kept = pairs.flatMap((pair) => {
      const own = ownCookieName(pair.name);
      if (own === null) return [pair.text];
      // Under another prefix, or in other letters, it is nothing the gateway has looked at.
      if (!pair.name.startsWith(cookiePrefix)) return [];
      if (own === 'session_data') return withData ? [pair.text] : [];
      return SIGNED.has(own) && !isAnonymous ? [resigned(pair, secrets)] : [];
    });
    return kept.length === 0 ? undefined : kept.join('; ');
  };
}

function resigned({ name, value, text }: CookiePair, secrets: readonly string[]): string {
  const [first = '', ...older] = secrets;
  const signed = older.length === 0 ? null : verify(value, older);
  return signed === null ? text : `${name}=${sign(signed, first)}`;
}

/** A JWE is opened once: what is in it is kept, by its hash. */
function truthTeller({ cookiePrefix, findCookie, verifyToken, secrets }: PassedCookiesOptions) {
  const known = new LRUCache<string, { told: Session | null }>({ max: MOST_KNOWN });
  // Of an older secret, the service might know it not, and take the person for signed out.
  const readSessionData = sessionDataReader(secrets.slice(0, 1));
  return (header: string, session: Session): boolean => {
    const value = onlyValue(header, `${cookiePrefix}session_data`);
    const found = value === null ? null : findCookie(header);
    const token = found?.kind === 'value' ? verifyToken(found.value) : null;
    if (value === null || token === null) return false;
    const key = tokenHash(`${token} ${value}`);
    const kept = known.get(key);
    const told = kept ? kept.told : sessionOf(readSessionData(value), token);
    if (!kept) known.set(key, { told });
    return told !== null && isSame(told, session);
  };
}

function sessionOf(data: SessionData | null, token: string): Session | null {
  return data?.token === token ? data.session : null;
}

/** Where there are several, parsers disagree about which one counts: in one piece or in numbered ones, and once each. */
function onlyValue(header: string, cookieName: string): string | null {
  const names = pairsOf(header).flatMap(({ name }) => (name.startsWith(cookieName) ? [name] : []));
  const expected = names.includes(cookieName)
    ? [cookieName]
    : names.map((_name, at) => `${cookieName}.${at}`);
  const isPlain = names.length === expected.length && expected.every((name) => names.includes(name));
  return isPlain ? sessionDataValue(header, cookieName) : null;
}

function isSame(told: Session, session: Session): boolean {
  return (['id', 'userId', 'email', 'name', 'role', 'impersonatedBy'] as const).every(
    (key) => told[key] === session[key],
  );
}
