// Which cookies are the gateway's own, and which pairs does a Cookie header hold? Pure.

/** One pair of a Cookie header; `text` is the pair exactly as it came. */
export interface CookiePair {
  readonly name: string;
  readonly value: string;
  readonly text: string;
}

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
  const pairs: CookiePair[] = [];
  forEachPair(header, (start, end) => pairs.push(pairOf(header.slice(start, end))));
  return pairs;
}

/** The pairs of pairsOf() that may be ours: the others, which are most of a header, are not even cut out of it. */
function candidatesOf(header: string): CookiePair[] {
  const pairs: CookiePair[] = [];
  forEachPair(header, (start, end) => {
    if (mayBeOwn(header.charCodeAt(start))) pairs.push(pairOf(header.slice(start, end)));
  });
  return pairs;
}

/** The different values that cookies of this name of ours have. */
export function valuesOf(header: string, name: string): string[] {
  const values: string[] = [];
  for (const pair of candidatesOf(partWith(header, name)))
    if (pair.name === name && !values.includes(pair.value)) values.push(pair.value);
  return values;
}

/** What of the header may hold pairs of this name: nearly always it stands there once, and one pair is enough. */
function partWith(header: string, name: string): string {
  const at = header.indexOf(name);
  if (at === -1) return '';
  if (header.includes(name, at + 1)) return header;
  const end = header.indexOf(';', at);
  return header.slice(header.lastIndexOf(';', at) + 1, end === -1 ? header.length : end);
}

/** Is one of the pairs a cookie of ours? */
export function hasOwnCookie(header: string): boolean {
  return candidatesOf(header).some(({ name }) => ownCookieName(name) !== null);
}

/** Calls with where each pair begins and ends, blanks around it left out. */
function forEachPair(header: string, use: (start: number, end: number) => void): void {
  for (let from = 0; from <= header.length; ) {
    const mark = header.indexOf(';', from);
    const next = mark === -1 ? header.length : mark;
    let start = from;
    let end = next;
    // Not trim(): it would cut the last byte off a raw UTF-8 value, where node:http reads 0xA0 as a no-break space.
    while (start < end && isBlank(header.charCodeAt(start))) start++;
    while (end > start && isBlank(header.charCodeAt(end - 1))) end--;
    if (start < end) use(start, end);
    from = next + 1;
  }
}

function pairOf(text: string): CookiePair {
  const equals = text.indexOf('=');
  if (equals === -1) return { name: '', value: text, text };
  return { name: text.slice(0, equals).trim(), value: text.slice(equals + 1).trim(), text };
}

/** Our names begin with `better` or `__`; what is no visible character may be a blank that is not part of the name. */
function mayBeOwn(first: number): boolean {
  return first === 0x62 || first === 0x42 || first === 0x5f || first <= 0x20 || first >= 0x7f;
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
  let rest = '';
  let isChanged = false;
  // Of pairs that stay and stand side by side.
  let runStart = -1;
  let runEnd = -1;
  const endRun = () => {
    if (runStart !== -1) rest += `${rest === '' ? '' : '; '}${header.slice(runStart, runEnd)}`;
    runStart = -1;
  };
  forEachPair(header, (start, end) => {
    const own = mayBeOwn(header.charCodeAt(start))
      ? ownCookieName(pairOf(header.slice(start, end)).name)
      : null;
    if (own === null || keep.has(own)) {
      if (runStart === -1) runStart = start;
      runEnd = end;
    } else {
      isChanged = true;
      endRun();
    }
  });
  if (!isChanged) return header;
  endRun();
  return rest === '' ? undefined : rest;
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
