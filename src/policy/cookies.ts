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

/** Which of the gateway's cookies this name belongs to, prefix and chunk number aside; null for other cookies. */
export function ownCookieName(name: string): OwnCookie | null {
  const kind = OWN.exec(name)?.[1];
  return kind === undefined ? null : (kind.toLowerCase() as OwnCookie);
}

/** Splits a Cookie header (RFC 6265 section 5.4) without touching what is inside the pairs. */
export function pairsOf(header: string): CookiePair[] {
  return header.split(';').flatMap((part) => {
    const text = part.trim();
    if (text === '') return [];
    const equals = text.indexOf('=');
    if (equals === -1) return [{ name: '', value: text, text }];
    return [{ name: text.slice(0, equals).trim(), value: text.slice(equals + 1).trim(), text }];
  });
}

/**
 * The Cookie header less the pairs that are ours to keep; the others byte for byte and in order.
 *
 * @param keep own cookies that may stay
 * @returns undefined when nothing is left
 */
export function withoutOwnCookies(header: string, keep: ReadonlySet<OwnCookie> = NONE): string | undefined {
  if (!header.toLowerCase().includes(PREFIX)) return header;
  const rest = pairsOf(header).filter(({ name }) => {
    const own = ownCookieName(name);
    return own === null || keep.has(own);
  });
  return rest.length === 0 ? undefined : rest.map((pair) => pair.text).join('; ');
}

const NONE: ReadonlySet<OwnCookie> = new Set();

/** Whose cookie does a Set-Cookie line set? */
export function setCookieName(line: string): string {
  return line.slice(0, nameEnd(line)).trim();
}

function nameEnd(line: string): number {
  const end = line.search(/[=;]/);
  return end === -1 ? line.length : end;
}
