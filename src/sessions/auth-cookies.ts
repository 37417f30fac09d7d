// The Cookie header as Better Auth may see it. Better Auth knows one secret, and would answer from its JWE cookie
// for seven days after a sign-out; so signatures of older secrets are renewed, and that cookie is left out.
import { type CookiePair, ownCookieName, pairsOf, setCookieName } from '../policy/cookies.ts';
import { sign, verify } from './cookie.ts';

const SIGNED = new Set(['session_token', 'dont_remember', 'admin_session', 'state']);

/** @param secrets all that may have signed; the first is Better Auth's */
export function authCookieWriter(secrets: readonly string[]): (header: string) => string | undefined {
  return (header) => {
    const pairs = pairsOf(header);
    const kept = pairs.filter((pair) => !contradicts(pair, pairs)).flatMap((pair) => rewrite(pair, secrets));
    return kept.length === 0 ? undefined : kept.map((pair) => pair.text).join('; ');
  };
}

function rewrite(pair: CookiePair, secrets: readonly string[]): CookiePair[] {
  const own = ownCookieName(pair.name);
  if (own === 'session_data' || own === 'account_data') return [];
  if (own === null || !SIGNED.has(own)) return [pair];
  const token = verify(pair.value, secrets);
  if (token === null) return own === 'session_token' ? [] : [pair];
  const value = sign(token, secrets[0] ?? '');
  return [{ name: pair.name, value, text: `${pair.name}=${value}` }];
}

/** Two session cookies of different value: neither counts, here as in the lookup. */
function contradicts(pair: CookiePair, all: readonly CookiePair[]): boolean {
  if (ownCookieName(pair.name) !== 'session_token') return false;
  return all.some((other) => other.name === pair.name && other.value !== pair.value);
}

/**
 * Cookies that Better Auth would have ended had it seen the JWE: a new one, or a sign-out, must not leave chunks of the
 * old one behind.
 *
 * @param header the client's Cookie header
 * @param setCookies the Set-Cookie lines of Better Auth's answer
 * @returns names of cookies to end
 */
export function staleCookies(header: string, setCookies: readonly string[]): string[] {
  const written = new Set(setCookies.map(setCookieName));
  const renews = [...written].some((name) => ownCookieName(name) === 'session_data');
  if (!renews) return [];
  const stale = pairsOf(header).filter(({ name }) => isJwe(name) && !written.has(name));
  return [...new Set(stale.map(({ name }) => name))];
}

function isJwe(name: string): boolean {
  const own = ownCookieName(name);
  return own === 'session_data' || own === 'account_data';
}
