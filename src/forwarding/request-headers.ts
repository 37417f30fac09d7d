// Builds what the upstream gets: the client's headers less what is not theirs to send, and ours.
import { type OwnCookie, withoutOwnCookies } from '../policy/cookies.ts';
import { requestVerdict } from './header-names.ts';

/** How the request reached the gateway, told to upstreams in X-Forwarded-*. */
export interface Origin {
  /** The client and the trusted proxies it came through, as X-Forwarded-For lists them. */
  readonly forwardedFor: string;
  readonly proto: string;
  readonly host: string;
  readonly port: string;
  /** The socket's peer is a trusted proxy: what it says of the client is believed. */
  readonly trusted: boolean;
  /** The Forwarded header (RFC 7239) of a trusted proxy, with that proxy added; null when none came. */
  readonly forwarded: string | null;
}

export interface RequestHeaderParts {
  /** Names and values in turn, as node:http read them. */
  readonly rawHeaders: readonly string[];
  readonly origin: Origin;
  readonly requestId: string;
  /** Host header of the upstream. */
  readonly host: string;
  /** The client's Authorization gives way to the token of the identity. */
  readonly replacesAuthorization: boolean;
  readonly keptCookies: ReadonlySet<OwnCookie>;
  /** Without a body no length is announced. */
  readonly hasBody: boolean;
}

/** A flat list of names and values, in the client's order, ours at the end; the identity comes behind them. */
export function buildRequestHeaders(parts: RequestHeaderParts): string[] {
  const { rawHeaders, origin } = parts;
  const headers = ['host', parts.host];
  const nominated = nominatedNames(rawHeaders);
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    const value = rawHeaders[at + 1] as string;
    if (nominated?.has(name.toLowerCase())) continue;
    const kept = keptValue(name, value, parts);
    if (kept !== undefined) headers.push(name, kept);
  }
  headers.push('X-Forwarded-For', origin.forwardedFor, 'X-Forwarded-Proto', origin.proto);
  headers.push('X-Forwarded-Host', origin.host, 'X-Forwarded-Port', origin.port);
  if (origin.forwarded) headers.push('Forwarded', origin.forwarded);
  headers.push('X-Request-Id', parts.requestId);
  return headers;
}

function keptValue(name: string, value: string, parts: RequestHeaderParts): string | undefined {
  switch (requestVerdict(name)) {
    case 'keep':
      return value;
    case 'cookie':
      return withoutOwnCookies(value, parts.keptCookies);
    case 'authorization':
      return parts.replacesAuthorization ? undefined : value;
    case 'content-length':
      return parts.hasBody ? value : undefined;
    case 'proxy':
      return parts.origin.trusted ? value : undefined;
    default:
      return undefined;
  }
}

/**
 * Headers the client declared to be for this connection only. They are taken from the client's list before ours are
 * added: naming one of ours removes nothing (CVE-2026-33805). Null when there are none, as nearly always.
 */
function nominatedNames(rawHeaders: readonly string[]): Set<string> | null {
  let names: Set<string> | null = null;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const written = rawHeaders[at] as string;
    if (written.length !== 'connection'.length || requestVerdict(written) !== 'connection') continue;
    for (const option of (rawHeaders[at + 1] as string).split(',')) {
      const name = option.trim().toLowerCase();
      if (name === 'keep-alive' || name === 'close' || name === '') continue;
      // A client cannot take the framing or the cookies off the request by calling them its own.
      if (name !== 'content-length' && name !== 'cookie' && name !== 'authorization') {
        names ??= new Set();
        names.add(name);
      }
    }
  }
  return names;
}
