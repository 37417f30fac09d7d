// What of an upstream's header reaches the client: nothing hop-by-hop, and no cookie of ours.
import { type OwnCookie, ownCookieName, setCookieName } from '../policy/cookies.ts';
import { dropsFromResponse } from './header-names.ts';

export interface ResponseHeaderParts {
  /** Names and values in turn, as undici read them. */
  readonly rawHeaders: readonly Buffer[];
  readonly requestId: string;
  /** Own cookies the upstream may set (setCookies: pass). */
  readonly settableCookies: ReadonlySet<OwnCookie>;
  /** Cookies of ours to add, as Set-Cookie lines. */
  readonly ownCookies: readonly string[];
}

/** A flat list of names and values, in the upstream's order. */
export function buildResponseHeaders({
  rawHeaders,
  requestId,
  settableCookies,
  ownCookies,
}: ResponseHeaderParts): string[] {
  const headers: string[] = [];
  const nominated = nominatedNames(rawHeaders);
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = text(rawHeaders[at]);
    const value = text(rawHeaders[at + 1]);
    if (dropsFromResponse(name) || nominated?.has(name.toLowerCase())) continue;
    if (isSetCookie(name) && isForbiddenCookie(value, settableCookies)) continue;
    if (isReserved(name)) continue;
    if (ownCookies.length > 0 && ALLOWS_STORING.has(name.toLowerCase())) continue;
    headers.push(name, value);
  }
  // A session cookie in a shared cache would be everybody's.
  for (const line of ownCookies) headers.push('Set-Cookie', line);
  if (ownCookies.length > 0) headers.push('Cache-Control', 'private, no-store');
  headers.push('X-Request-Id', requestId);
  return headers;
}

const ALLOWS_STORING = new Set(['cache-control', 'expires', 'surrogate-control', 'cdn-cache-control']);

function isForbiddenCookie(line: string, settable: ReadonlySet<OwnCookie>): boolean {
  const own = ownCookieName(setCookieName(line));
  return own !== null && !settable.has(own);
}

function isSetCookie(name: string): boolean {
  return name.length === 10 && name.toLowerCase() === 'set-cookie';
}

/** Headers by which the gateway speaks for itself, and the one by which an upstream speaks to it. */
function isReserved(name: string): boolean {
  const lower = name.toLowerCase();
  return (
    lower === 'x-request-id' || lower === 'x-gateway-intercepted-response' || lower === 'x-github-status'
  );
}

function nominatedNames(rawHeaders: readonly Buffer[]): Set<string> | null {
  let names: Set<string> | null = null;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (text(rawHeaders[at]).toLowerCase() !== 'connection') continue;
    for (const option of text(rawHeaders[at + 1]).split(',')) {
      names ??= new Set();
      names.add(option.trim().toLowerCase());
    }
  }
  names?.delete('content-length');
  return names;
}

function text(part: Buffer | undefined): string {
  return part === undefined ? '' : part.toString('latin1');
}
