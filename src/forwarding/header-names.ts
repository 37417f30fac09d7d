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
  'X-Original-URL',
  'X-Rewrite-URL',
  'X-Forwarded-Uri',
  'X-Forwarded-Prefix',
  'X-Forwarded-Path',
  'X-Forwarded-Method',
  'X-Forwarded-Server',
  'X-Client-IP',
  // A POST that a service takes for a DELETE was judged as a POST.
  'X-HTTP-Method-Override',
  'X-HTTP-Method',
  'X-Method-Override',
  // HTTP_PROXY in CGI programs (CVE-2016-5385).
  'Proxy',
];

// Granted or carried out by the gateway itself; the client of an upstream sends its own Host.
const HANDLED = ['Host', 'Expect'];

const REQUEST_DROPPED: ReadonlySet<string> = new Set([...HOP_BY_HOP, ...OURS_ALONE, ...HANDLED].map(fold));
const REQUEST_DROPPED_PREFIXES = IDENTITY_PREFIXES.map(fold);

// What a proxy or CDN in front tells about the client: believed of a trusted one.
const TOLD_BY_PROXIES: ReadonlySet<string> = new Set(['x-real-ip', 'true-client-ip']);
const TOLD_BY_PROXIES_PREFIX = 'cf-';

/** What becomes of a request header; `proxy`: kept when a trusted proxy sends it. */
export type RequestVerdict =
  | 'keep'
  | 'drop'
  | 'connection'
  | 'cookie'
  | 'authorization'
  | 'content-length'
  | 'proxy';

/** What becomes of a response header; all but the first three depend on the value or the route. */
export type ResponseVerdict =
  | 'keep'
  | 'drop'
  | 'connection'
  | 'set-cookie'
  | 'clear-site-data'
  | 'location'
  | 'caching'
  | 'cdn-caching'
  | 'cors';

const RESPONSE_VERDICTS: ReadonlyMap<string, ResponseVerdict> = new Map<string, ResponseVerdict>([
  ...HOP_BY_HOP.map((name) => [name, 'drop'] as const),
  // Headers by which the gateway speaks for itself, and the one by which an upstream speaks to it.
  ['x-request-id', 'drop'],
  ['x-gateway-intercepted-response', 'drop'],
  ['x-github-status', 'drop'],
  ['connection', 'connection'],
  ['set-cookie', 'set-cookie'],
  ['clear-site-data', 'clear-site-data'],
  ['location', 'location'],
  ['content-location', 'location'],
  ['cache-control', 'caching'],
  ['expires', 'caching'],
  ['surrogate-control', 'cdn-caching'],
  ['cdn-cache-control', 'cdn-caching'],
]);

const SPECIAL: ReadonlySet<string> = new Set(['connection', 'cookie', 'authorization', 'content-length']);

// Both sides send the same few names over and over: each spelling is judged once. Bounded in number and length, because
// others choose them.
const requestVerdicts = new Map<string, RequestVerdict>();
const responseVerdicts = new Map<string, ResponseVerdict>();
const MOST_VERDICTS = 2000;
const LONGEST_KEPT_NAME = 64;

export function requestVerdict(name: string): RequestVerdict {
  return requestVerdicts.get(name) ?? remember(requestVerdicts, name, judgeRequest(name));
}

export function responseVerdict(name: string): ResponseVerdict {
  return responseVerdicts.get(name) ?? remember(responseVerdicts, name, judgeResponse(name.toLowerCase()));
}

function remember<T>(verdicts: Map<string, T>, name: string, verdict: T): T {
  if (verdicts.size < MOST_VERDICTS && name.length <= LONGEST_KEPT_NAME) verdicts.set(name, verdict);
  return verdict;
}

/** `X_Forwarded.User` and `x-forwarded-user` are one name. */
export function fold(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-');
}

function judgeRequest(name: string): RequestVerdict {
  const exact = name.toLowerCase();
  if (SPECIAL.has(exact)) return exact as RequestVerdict;
  const folded = fold(name);
  if (REQUEST_DROPPED.has(folded)) return 'drop';
  // A look-alike of a header with a meaning of its own, such as Content_Length or Cookie_.
  if (folded !== exact && SPECIAL.has(folded)) return 'drop';
  if (TOLD_BY_PROXIES.has(folded) || folded.startsWith(TOLD_BY_PROXIES_PREFIX))
    return folded === exact ? 'proxy' : 'drop';
  return REQUEST_DROPPED_PREFIXES.some((prefix) => folded.startsWith(prefix)) ? 'drop' : 'keep';
}

function judgeResponse(name: string): ResponseVerdict {
  return RESPONSE_VERDICTS.get(name) ?? (name.startsWith('access-control-') ? 'cors' : 'keep');
}
