// A route as it is asked for with every request, and the path its upstream is asked for. Pure.
import { type CorsPolicy, compileCors } from './cors.ts';
import { withHead } from './methods.ts';
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
  /** Null: the path goes on as it came. */
  readonly rewriting: Rewriting | null;
  readonly encodedSlashes: boolean;
  readonly pathParameters: boolean;
  /** Refusals after routing are noted, not carried out. */
  readonly reportOnly: boolean;
  readonly refusesCrossSite: boolean;
  readonly cors: CorsPolicy | null;
  readonly limits: RouteLimits | undefined;
}

/** What stands for the first segments of a path; null: the whole path. */
interface Rewriting {
  readonly segments: number | null;
  readonly prefix: string;
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
    rewriting: compileRewriting(options),
    encodedSlashes: options.encodedSlashes === 'allow',
    pathParameters: options.pathParameters === 'allow',
    reportOnly: options.reportOnly,
    refusesCrossSite: options.crossSite === 'refuse',
    cors: options.cors ? compileCors(options.cors, methods) : null,
    limits: compileLimits(options),
  };
}

/** The path the upstream is asked for: the judged one, with another beginning where the route says so. */
export function upstreamPath({ rewriting }: Route, { path }: Target): string {
  if (rewriting === null) return path;
  if (rewriting.segments === null) return rewriting.prefix;
  // Counted in segments, not characters: an escaped letter in the prefix is longer than the letter.
  let at = 0;
  for (let left = rewriting.segments; left > 0; left--) at = nextSlash(path, at + 1);
  return rewriting.prefix + path.slice(at) || '/';
}

function compileRewriting({ path, stripPrefix, rewrite }: RouteOptions): Rewriting | null {
  if (stripPrefix !== undefined) return { segments: splitPath(stripPrefix).length, prefix: '' };
  if (rewrite === undefined) return null;
  const segments = splitPath(path).findIndex((segment) => segment.startsWith('*'));
  if (segments === -1) return { segments: null, prefix: rewrite };
  return { segments, prefix: rewrite === '/' ? '' : rewrite };
}

function compileAccess({ access, impersonation }: RouteOptions): Access {
  const impersonatorWrites = impersonation === 'full';
  if (typeof access === 'object') return { kind: 'session', ...access, impersonatorWrites };
  return { kind: access, scopes: [], roles: [], unknownScopes: 'deny', impersonatorWrites };
}

function compileLimits({ timeouts, maxBodySize }: RouteOptions): RouteLimits | undefined {
  if (timeouts === undefined && maxBodySize === undefined) return undefined;
  return { headersMs: timeouts?.headers, idleMs: timeouts?.idle, maxBodyBytes: maxBodySize };
}

function nextSlash(path: string, from: number): number {
  const at = path.indexOf('/', from);
  return at === -1 ? path.length : at;
}
