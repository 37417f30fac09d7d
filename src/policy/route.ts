// A route as it is asked for with every request, and the path its upstream is asked for. Pure.
import { type CorsPolicy, compileCors } from './cors.ts';
import { withHead } from './methods.ts';
import type { RateLimit } from './rate-limit.ts';
import { type RouteOptions, splitPath } from './route-options.ts';
import type { Target } from './target.ts';

/** Access in the one form that decide() reads. */
export interface Access {
  readonly kind: 'public' | 'optional' | 'session';
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
  readonly unknownScopes: 'deny' | 'allow';
  /** May an administrator who acts as somebody else change things? */
  readonly impersonatorWrites: boolean;
}

/** Limits of a route that override its upstream's; absent: the upstream's, or none. */
export interface RouteLimits {
  /** In milliseconds. */
  readonly headersMs?: number;
  /** In milliseconds. */
  readonly idleMs?: number;
  /** In milliseconds. */
  readonly streamMs?: number;
  readonly maxBodyBytes?: number;
}

export interface Route {
  /** Names the route in logs and metrics: the pattern, its hosts before it. */
  readonly name: string;
  readonly pattern: string;
  readonly caseSensitive: boolean;
  readonly methods: ReadonlySet<string> | null;
  readonly upstream: string;
  readonly access: Access;
  readonly mount: Mount;
  /** The mount stands for the whole path, not for its beginning. */
  readonly replacesPath: boolean;
  readonly encodedSlashes: boolean;
  readonly pathParameters: boolean;
  /** Refusals after routing are noted, not carried out. */
  readonly reportOnly: boolean;
  readonly refusesCrossSite: boolean;
  readonly cors: CorsPolicy | null;
  readonly limits: RouteLimits | undefined;
  readonly rateLimit: RateLimit | null;
  readonly maxStreams: number;
  /** Event streams are told why they end. */
  readonly finalEvent: boolean;
}

/** How a route changes the beginning of a path; both are empty where it does not. */
export interface Mount {
  /** As clients ask for it. */
  readonly outside: string;
  /** As the service is asked for it. */
  readonly inside: string;
}

export function compileRoute(options: RouteOptions): Route {
  const methods = options.methods ? new Set(withHead(options.methods)) : null;
  return {
    name: options.hosts ? `${options.hosts.join(',')}${options.path}` : options.path,
    pattern: options.path,
    caseSensitive: options.caseSensitive,
    methods,
    upstream: options.upstream,
    access: compileAccess(options),
    mount: compileMount(options),
    replacesPath: options.rewrite !== undefined && literalBeginning(options.path) === options.path,
    encodedSlashes: options.encodedSlashes === 'allow',
    pathParameters: options.pathParameters === 'allow',
    reportOnly: options.reportOnly,
    refusesCrossSite: options.crossSite === 'refuse',
    cors: options.cors ? compileCors(options.cors, methods) : null,
    limits: compileLimits(options),
    rateLimit: options.rateLimit ?? null,
    maxStreams: options.maxStreams ?? Number.POSITIVE_INFINITY,
    finalEvent: options.finalEvent,
  };
}

/** The path the upstream is asked for: the judged one, with another beginning where the route says so. */
export function upstreamPath({ mount, replacesPath }: Route, { path }: Target): string {
  const { outside, inside } = mount;
  if (replacesPath) return inside || '/';
  if (outside === '' && inside === '') return path;
  // Counted in segments, not characters: an escaped letter in the prefix is longer than the letter.
  let at = 0;
  if (outside !== '')
    for (let left = splitPath(outside).length; left > 0; left--) at = nextSlash(path, at + 1);
  return inside + path.slice(at) || '/';
}

function compileMount({ path, stripPrefix, rewrite }: RouteOptions): Mount {
  if (stripPrefix !== undefined) return { outside: stripPrefix, inside: '' };
  if (rewrite === undefined) return { outside: '', inside: '' };
  return { outside: withoutSlash(literalBeginning(path)), inside: withoutSlash(rewrite) };
}

/** A pattern up to its first `*`. */
function literalBeginning(pattern: string): string {
  const at = pattern.indexOf('*');
  return at === -1 ? pattern : pattern.slice(0, at);
}

function withoutSlash(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path;
}

function compileAccess({ access, impersonation }: RouteOptions): Access {
  const impersonatorWrites = impersonation === 'full';
  if (typeof access === 'object') return { kind: 'session', ...access, impersonatorWrites };
  return { kind: access, scopes: [], roles: [], unknownScopes: 'deny', impersonatorWrites };
}

function compileLimits({ timeouts, maxBodySize }: RouteOptions): RouteLimits | undefined {
  if (timeouts === undefined && maxBodySize === undefined) return undefined;
  const { headers, idle, stream } = timeouts ?? {};
  return { headersMs: headers, idleMs: idle, streamMs: stream, maxBodyBytes: maxBodySize };
}

function nextSlash(path: string, from: number): number {
  const at = path.indexOf('/', from);
  return at === -1 ? path.length : at;
}
