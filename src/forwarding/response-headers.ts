// What of an upstream's header reaches the client: nothing hop-by-hop, and no cookie of ours.
import { type OwnCookie, ownCookieName, setCookieName } from '../policy/cookies.ts';
import { responseVerdict } from './header-names.ts';
import { type Mount, publicLocation } from './location.ts';

/** What the route and the decision say about an answer. */
export interface AnswerPolicy {
  /** Names and values in turn that take the place of the upstream's own CORS headers; null leaves those. */
  readonly cors: readonly string[] | null;
  /** The answer is for one person: caches are told so. */
  readonly authenticated: boolean;
}

export interface ResponseHeaderParts {
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
  readonly requestId: string;
  /** Own cookies the upstream may set (setCookies: pass). */
  readonly settableCookies: ReadonlySet<OwnCookie>;
  /** Cookies of ours to add, as Set-Cookie lines. */
  readonly ownCookies: readonly string[];
  readonly answer?: AnswerPolicy;
  /** The upstream's own addresses, which must not stand in a redirect. */
  readonly targets: readonly { origin: string }[];
  readonly mount?: Mount;
}

/** A flat list of names and values, in the upstream's order. */
export function buildResponseHeaders(parts: ResponseHeaderParts): string[] {
  const { rawHeaders, requestId, ownCookies, answer } = parts;
  const headers: string[] = [];
  const nominated = nominatedNames(rawHeaders);
  let speaksOfCaching = false;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    const verdict = responseVerdict(name);
    if (verdict === 'drop' || verdict === 'connection') continue;
    if (nominated?.has(name.toLowerCase())) continue;
    const value = rawHeaders[at + 1] as string;
    const kept = verdict === 'keep' ? value : keptValue(verdict, value, parts);
    if (kept === undefined) continue;
    if (verdict === 'caching') speaksOfCaching = true;
    headers.push(name, kept);
  }
  for (const line of ownCookies) headers.push('Set-Cookie', line);
  // A session cookie in a shared cache would be everybody's.
  if (ownCookies.length > 0) headers.push(...PRIVATE);
  else if (answer?.authenticated) headers.push(...(speaksOfCaching ? PER_COOKIE : PRIVATE));
  if (answer?.cors) headers.push(...answer.cors);
  headers.push('X-Request-Id', requestId);
  return headers;
}

/** For a 204, whose length clients might wait for (RFC 9110 section 8.6). @param headers names and values in turn */
export function withoutLength(headers: readonly string[]): string[] {
  return headers.filter((_each, at) => headers[at - (at % 2)]?.toLowerCase() !== 'content-length');
}

/** Where nothing is said, caches guess: an answer for one person is not for the next. */
const PRIVATE = ['Cache-Control', 'private, no-store'];
const PER_COOKIE = ['Vary', 'Cookie'];

function keptValue(
  verdict: ReturnType<typeof responseVerdict>,
  value: string,
  { settableCookies, ownCookies, answer, targets, mount }: ResponseHeaderParts,
): string | undefined {
  switch (verdict) {
    case 'set-cookie':
      return isForbiddenCookie(value, settableCookies) ? undefined : value;
    case 'clear-site-data':
      return settableCookies.size > 0 ? value : withoutCookies(value);
    case 'location':
      return publicLocation(value, targets, mount);
    case 'caching':
    case 'cdn-caching':
      return ownCookies.length === 0 ? value : undefined;
    case 'cors':
      return answer?.cors ? undefined : value;
    default:
      return undefined;
  }
}

function isForbiddenCookie(line: string, settable: ReadonlySet<OwnCookie>): boolean {
  const own = ownCookieName(setCookieName(line));
  return own !== null && !settable.has(own);
}

/** Clearing cookies would sign people out: of everything (`"*"`) the rest is left. */
function withoutCookies(value: string): string | undefined {
  const kept = value
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each.toLowerCase() !== '"cookies"')
    .map((each) => (each === '"*"' ? '"cache", "storage", "executionContexts"' : each));
  return kept.length === 0 ? undefined : kept.join(', ');
}

/** Null when there are none, as nearly always. */
function nominatedNames(rawHeaders: readonly string[]): Set<string> | null {
  let names: Set<string> | null = null;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const written = rawHeaders[at] as string;
    if (written.length !== 'connection'.length || responseVerdict(written) !== 'connection') continue;
    for (const option of (rawHeaders[at + 1] as string).split(',')) {
      const name = option.trim().toLowerCase();
      if (name === 'keep-alive' || name === 'close' || name === 'content-length') continue;
      names ??= new Set();
      names.add(name);
    }
  }
  return names;
}
