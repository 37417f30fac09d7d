// Which cookies are the gateway's own, and which pairs does a Cookie header hold? Pure.

/** One pair of a Cookie header; `text` is the pair exactly as it came. */
export interface CookiePair {
  readonly name: string;
  readonly value: string;
  readonly text: string;
}

const PREFIX = 'better-auth.';
// Chunked cookies end in a number. Any case: a browser may be made to send look-alikes.
const OWN =
  /^(?:__secure-|__host-)?better-auth\.(session_token|session_data|account_data|dont_remember|admin_session|state|oauth_state)(?:\.\d+)?$/i;

export type OwnCookie =
  | 'session_token'
  | 'session_data'
  | 'account_data'
  | 'dont_remember'
  | 'admin_session'
  | 'state'
  | 'oauth_state';

/**
 * The cookies a service that reads Better Auth sessions itself may see and set. Not account_data: it would prefer the
 * token in it, which may be old, to the one it is sent.
 */
export const SESSION_COOKIES: ReadonlySet<OwnCookie> = new Set([
  'session_token',
  'session_data',
  'dont_remember',
  'admin_session',
]);

export const NO_COOKIES: ReadonlySet<OwnCookie> = new Set();

/** Which of the gateway's cookies this name belongs to, prefix and chunk number aside; null for other cookies. */
export function ownCookieName(name: string): OwnCookie | null {
  const kind = OWN.exec(name)?.[1];
  return kind === undefined ? null : (kind.toLowerCase() as OwnCookie);
}

/** Splits a Cookie header (RFC 6265 section 5.4) without touching what is inside the pairs. */
export function pairsOf(header: string): CookiePair[] {
  return header.split(';').flatMap((part) => {
    const text = withoutOuterBlanks(part);
    if (text === '') return [];
    const equals = text.indexOf('=');
    if (equals === -1) return [{ name: '', value: text, text }];
    return [{ name: text.slice(0, equals).trim(), value: text.slice(equals + 1).trim(), text }];
  });
}

/** Not trim(): it would cut the last byte off a raw UTF-8 value, where node:http reads 0xA0 as a no-break space. */
function withoutOuterBlanks(part: string): string {
  let start = 0;
  let end = part.length;
  while (start < end && isBlank(part.charCodeAt(start))) start++;
  while (end > start && isBlank(part.charCodeAt(end - 1))) end--;
  return part.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/**
 * The Cookie header less the pairs that are ours to keep; the others byte for byte and in order.
 *
 * @param keep own cookies that may stay
 * @returns undefined when nothing is left
 */
export function withoutOwnCookies(
  header: string,
  keep: ReadonlySet<OwnCookie> = NO_COOKIES,
): string | undefined {
  if (!header.toLowerCase().includes(PREFIX)) return header;
  const rest = pairsOf(header).filter(({ name }) => {
    const own = ownCookieName(name);
    return own === null || keep.has(own);
  });
  return rest.length === 0 ? undefined : rest.map((pair) => pair.text).join('; ');
}

/**
 * Which cookie does a Set-Cookie line set? Browsers send a cookie without a name as its bare value, so that
 * `Set-Cookie: =name=value` comes back as `name=value`.
 */
export function setCookieName(line: string): string {
  const named = line.replace(/^[\s=]+/, '');
  return named.slice(0, nameEnd(named)).trim();
}

function nameEnd(line: string): number {
  const end = line.search(/[=;]/);
  return end === -1 ? line.length : end;
}
