// Which headers stay with the gateway? Names are compared folded, because servers behind CGI, WSGI and PHP cannot
// tell X-Forwarded-User from X_Forwarded_User.
import { IDENTITY_HEADERS, IDENTITY_PREFIXES } from '../policy/identity.ts';

/** Meant for one connection only (RFC 9110 section 7.6.1, and what is sent in practice). */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
];

/** The gateway writes these itself, or nobody may. */
const OURS_ALONE = [
  ...IDENTITY_HEADERS,
  'X-Request-Id',
  'X-Forwarded-For',
  'X-Forwarded-Proto',
  'X-Forwarded-Host',
  'X-Forwarded-Port',
  'Forwarded',
  'X-Real-IP',
  'X-Original-URL',
  'X-Rewrite-URL',
  'X-Forwarded-Uri',
  'X-Forwarded-Prefix',
  'X-Forwarded-Path',
  'X-Forwarded-Method',
  'X-Forwarded-Server',
  'X-Client-IP',
  'True-Client-IP',
  // HTTP_PROXY in CGI programs (CVE-2016-5385).
  'Proxy',
];

// Granted or carried out by the gateway itself; the client of an upstream sends its own Host.
const HANDLED = ['Host', 'Expect'];

const REQUEST_DROPPED: ReadonlySet<string> = new Set([...HOP_BY_HOP, ...OURS_ALONE, ...HANDLED].map(fold));
// CF-: what a CDN in front tells about the client; it is no CDN that sends it here.
const REQUEST_DROPPED_PREFIXES = [...IDENTITY_PREFIXES, 'CF-'].map(fold);
const RESPONSE_DROPPED: ReadonlySet<string> = new Set(HOP_BY_HOP);

/** What becomes of a request header. */
export type RequestVerdict = 'keep' | 'drop' | 'connection' | 'cookie' | 'authorization' | 'content-length';

const SPECIAL: ReadonlySet<string> = new Set(['connection', 'cookie', 'authorization', 'content-length']);

// Clients send the same few names over and over: each spelling is judged once. Bounded in number and length, because
// clients choose them.
const verdicts = new Map<string, RequestVerdict>();
const MOST_VERDICTS = 2000;
const LONGEST_KEPT_NAME = 64;

export function requestVerdict(name: string): RequestVerdict {
  const known = verdicts.get(name);
  if (known !== undefined) return known;
  const verdict = judge(name);
  if (verdicts.size < MOST_VERDICTS && name.length <= LONGEST_KEPT_NAME) verdicts.set(name, verdict);
  return verdict;
}

/** Must this header of an upstream's answer stay behind? */
export function dropsFromResponse(name: string): boolean {
  return RESPONSE_DROPPED.has(name.toLowerCase());
}

/** `X_Forwarded.User` and `x-forwarded-user` are one name. */
export function fold(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-');
}

function judge(name: string): RequestVerdict {
  const exact = name.toLowerCase();
  if (SPECIAL.has(exact)) return exact as RequestVerdict;
  const folded = fold(name);
  if (REQUEST_DROPPED.has(folded)) return 'drop';
  // A look-alike of a header with a meaning of its own, such as Content_Length or Cookie_.
  if (folded !== exact && SPECIAL.has(folded)) return 'drop';
  return REQUEST_DROPPED_PREFIXES.some((prefix) => folded.startsWith(prefix)) ? 'drop' : 'keep';
}
