// The Cookie header as Better Auth may see it. Better Auth knows one secret, and would answer from its JWE cookie
// for seven days after a sign-out; so signatures of older secrets are renewed, and that cookie is left out.
import cookie from '@fastify/cookie';
import { type CookiePair, ownCookieName, pairsOf, setCookieName } from '../policy/cookies.ts';
import { sign, verify } from './cookie.ts';

const SIGNED = new Set(['session_token', 'dont_remember', 'admin_session', 'state']);

/** @param secrets all that may have signed; the first is Better Auth's */
export function authCookieWriter(secrets: readonly string[]): (header: string) => string | undefined {
  return (header) => {
    const pairs = pairsOf(header).flatMap((pair) => rewrite(pair, secrets));
    const kept = pairs.filter((pair) => !contradicts(pair, pairs));
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
 * Lines that end what Better Auth would have ended had it seen the JWE cookie: a new one, or a sign-out, must not
 * leave chunks of the old one behind.
 *
 * @param header the client's Cookie header
 * @param setCookies the lines of Better Auth's answer
 */
export function staleCookieLines(header: string, setCookies: readonly string[]): string[] {
  const written = new Set(setCookies.map(setCookieName));
  const renews = [...written].some((name) => ownCookieName(name) === 'session_data');
  if (!renews) return [];
  const stale = pairsOf(header).filter(({ name }) => isJwe(name) && !written.has(name));
  return [...new Set(stale.map(({ name }) => name))].map(expiredLine);
}

function isJwe(name: string): boolean {
  const own = ownCookieName(name);
  return own === 'session_data' || own === 'account_data';
}

function expiredLine(name: string): string {
  const secure = name.startsWith('__Secure-');
  return cookie.serialize(name, '', { maxAge: 0, path: '/', httpOnly: true, secure, sameSite: 'lax' });
}
