// What credential does a Cookie header carry? The signature is checked here, before any store is asked:
// a forged cookie costs no I/O.
import { timingSafeEqual } from 'node:crypto';
import { valuesOf } from '../policy/cookies.ts';
import { type Hmac, hmac } from './hmac.ts';

export type Credential =
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'invalid' };

export type ReadCredential = (cookieHeader: string | undefined) => Credential;

/** The session cookie as it came, before anything is verified. */
export type FoundCookie =
  | { readonly kind: 'value'; readonly value: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'invalid' };

export type FindCookie = (cookieHeader: string | undefined) => FoundCookie;

/** The session token of a cookie value that one of the secrets has signed; null for all others. */
export type VerifyToken = (cookieValue: string) => string | null;

/** `<text>.<base64 of HMAC-SHA256(text)>`, percent-encoded: the form Better Auth signs cookies in. */
const SIGNED = /^(.+)\.([A-Za-z0-9+/]{43}=)$/s;
const TOKEN = /^[A-Za-z0-9_-]{16,128}$/;
const MAX_VALUE_LENGTH = 512;

const ABSENT = { kind: 'absent' } as const;
const INVALID = { kind: 'invalid' } as const;

/** @param cookieName with its `__Secure-` prefix where the gateway is served over https */
export function cookieFinder(cookieName: string): FindCookie {
  return (cookieHeader) => {
    if (cookieHeader === undefined) return ABSENT;
    const values = valuesOf(cookieHeader, cookieName);
    const [value] = values;
    if (value === undefined) return ABSENT;
    // Two different session cookies: parsers disagree about which one counts, so neither does.
    return values.length > 1 ? INVALID : { kind: 'value', value };
  };
}

/** @param secrets all that may have signed; the first is the current one */
export function tokenVerifier(secrets: readonly string[]): VerifyToken {
  return (cookieValue) => {
    const token = verify(cookieValue, secrets);
    return token !== null && TOKEN.test(token) ? token : null;
  };
}

/** Finder and verifier in one, for whoever does not look into memory in between. */
export function credentialReader(cookieName: string, secrets: readonly string[]): ReadCredential {
  const findCookie = cookieFinder(cookieName);
  const verifyToken = tokenVerifier(secrets);
  return (cookieHeader) => {
    const found = findCookie(cookieHeader);
    if (found.kind !== 'value') return found;
    const token = verifyToken(found.value);
    return token === null ? INVALID : { kind: 'token', token };
  };
}

/** The signed text of a cookie value, or null when no secret has signed it. */
export function verify(value: string, secrets: readonly string[]): string | null {
  if (value.length > MAX_VALUE_LENGTH) return null;
  const [, text, signature] = SIGNED.exec(decode(value)) ?? [];
  if (text === undefined || signature === undefined) return null;
  // The texts are compared, not the bytes they stand for: base64 has several spellings for the same bytes.
  const given = Buffer.from(signature);
  return secrets.some((secret) => timingSafeEqual(given, Buffer.from(mac(text, secret)))) ? text : null;
}

/** A cookie value as Better Auth would sign it, ready for a Cookie header. */
export function sign(text: string, secret: string): string {
  return encodeURIComponent(`${text}.${mac(text, secret)}`);
}

function mac(text: string, secret: string): string {
  return keyed(secret)(text, 'base64');
}

/** Of the few secrets there are. */
const known = new Map<string, Hmac>();

function keyed(secret: string): Hmac {
  const kept = known.get(secret);
  if (kept) return kept;
  const made = hmac('sha256', secret);
  known.set(secret, made);
  return made;
}

function decode(value: string): string {
  try {
    return value.includes('%') ? decodeURIComponent(value) : value;
  } catch {
    return '';
  }
}
