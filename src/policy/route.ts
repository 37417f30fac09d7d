// Which rule governs this request? The most specific path wins, wherever it stands in the file.
// Pure: a table is built once and asked per request.
import * as z from 'zod';
import type { Target } from './target.ts';

const SCOPE = /^[a-z][a-z0-9_:-]*$/;

/** Who may pass a route, as written in the configuration. */
export const accessSchema = z
  .union([
    z.literal('public').describe('Anyone; the gateway does not look at cookies.'),
    z.literal('optional').describe('Anyone; people who are signed in are announced to the upstream.'),
    z.literal('session').describe('Anyone who is signed in.'),
    z.strictObject({
      scopes: z
        .array(z.string().regex(SCOPE, 'is not a GitHub scope such as public_repo or read:org'))
        .default([])
        .describe('GitHub scopes the stored token must have, all of them.'),
      roles: z
        .array(
          z
            .string()
            .min(1)
            .regex(/^[^,\s]+$/, 'must be one word'),
        )
        .default([])
        .describe('Roles of which the person must have at least one.'),
      unknownScopes: z
        .enum(['deny', 'allow'])
        .default('deny')
        .describe('What to do when the token does not list its scopes (fine-grained tokens).'),
    }),
  ])
  .describe('Who may pass: public, optional, session, or { scopes, roles, unknownScopes }.');

export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;

export const routeSchema = z.strictObject({
  path: z
    .string()
    .describe('Whole segments; `*` stands for one segment, `/**` at the end for any number including none.')
    .superRefine((path, context) => {
      const fault = patternFault(path);
      if (fault) context.addIssue({ code: 'custom', message: fault });
    }),
  methods: z
    .array(z.enum(METHODS))
    .min(1)
    .optional()
    .describe('Methods the route serves (GET includes HEAD); all when absent. Others get 405.'),
  upstream: z.string().describe('Name of an entry under upstreams.'),
  access: accessSchema.default('session'),
  stripPrefix: z
    .string()
    .regex(
      /^(\/[A-Za-z0-9\-._~!$&'()+,=:@]+)+$/,
      'must be a path such as /github, without a slash at the end',
    )
    .optional()
    .describe('Leading segments removed before the path is sent on.'),
  caseSensitive: z.boolean().default(false).describe('Match letters exactly instead of ignoring ASCII case.'),
});

export type RouteOptions = z.output<typeof routeSchema>;

/** Access in the one form that decide() reads. */
export interface Access {
  readonly kind: 'public' | 'optional' | 'session';
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
  readonly unknownScopes: 'deny' | 'allow';
}

export interface Route {
  /** The pattern; names the route in logs and metrics. */
  readonly name: string;
  readonly methods: ReadonlySet<string> | null;
  readonly upstream: string;
  readonly access: Access;
  readonly stripPrefix: string;
  readonly caseSensitive: boolean;
}

export type RouteMatch =
  | { found: 'route'; route: Route }
  | { found: 'other-methods'; allow: string[] }
  | { found: 'nothing' };

export type MatchRoute = (method: string, target: Target) => RouteMatch;

/** Two routes that no request could tell apart; index is the later one's place in the list. */
export interface RouteConflict {
  index: number;
  message: string;
}

interface Node {
  readonly literals: Map<string, Node>;
  any: Node | null;
  routes: Route[];
  rest: Route[];
}

/** @throws nothing: conflicts are found by {@link routeConflicts} when the configuration is read */
export function createRouteTable(options: readonly RouteOptions[]): MatchRoute {
  const routes = options.map(compileRoute);
  const folded = buildTree(routes.filter((route) => !route.caseSensitive));
  const exact = buildTree(routes.filter((route) => route.caseSensitive));
  return (method, target) => {
    const byFoldedPath = mostSpecific(folded, splitPath(target.matchPath.toLowerCase()));
    const byExactPath = exact && mostSpecific(exact, splitPath(target.matchPath));
    return pickMethod(method, moreSpecific(byExactPath, byFoldedPath));
  };
}

/** Routes that equal an earlier one in path (without regard to case, unless both say so) and share a method. */
export function routeConflicts(options: readonly RouteOptions[]): RouteConflict[] {
  const conflicts: RouteConflict[] = [];
  for (const [index, later] of options.entries()) {
    const earlier = options.slice(0, index).find((route) => sameRequests(route, later));
    if (earlier) conflicts.push({ index, message: `matches the same requests as the route ${earlier.path}` });
  }
  return conflicts;
}

/** The path the upstream is asked for: the judged one, less the route's prefix. */
export function upstreamPath(route: Route, target: Target): string {
  if (route.stripPrefix === '') return target.path;
  // Counted in segments, not characters: an escaped letter in the prefix is longer than the letter.
  let at = 0;
  for (let left = route.stripPrefix.split('/').length - 1; left > 0; left--)
    at = nextSlash(target.path, at + 1);
  return target.path.slice(at) || '/';
}

export function patternFault(pattern: string): string | null {
  if (!pattern.startsWith('/')) return 'must start with /';
  const segments = splitPath(pattern);
  if (segments.slice(0, -1).includes('**')) return 'may have ** only as its last segment';
  if (segments.some((segment) => segment.includes('*') && segment !== '*' && segment !== '**'))
    return 'matches whole segments: * and ** stand alone between slashes';
  if (segments.slice(0, -1).includes('')) return 'has an empty segment';
  if (segments.some((segment) => segment === '.' || segment === '..')) return 'has a dot segment';
  if (!/^[A-Za-z0-9\-._~!$&'()*+,=:@/]*$/.test(pattern))
    return 'has a character that must not stand in a pattern';
  return null;
}

function compileRoute(options: RouteOptions): Route {
  return {
    name: options.path,
    methods: options.methods ? new Set(withHead(options.methods)) : null,
    upstream: options.upstream,
    access: compileAccess(options.access),
    stripPrefix: options.stripPrefix ?? '',
    caseSensitive: options.caseSensitive,
  };
}

function compileAccess(access: RouteOptions['access']): Access {
  if (typeof access === 'object') return { kind: 'session', ...access };
  return { kind: access, scopes: [], roles: [], unknownScopes: 'deny' };
}

function withHead(methods: readonly string[]): string[] {
  return methods.includes('GET') ? [...methods, 'HEAD'] : [...methods];
}

function buildTree(routes: readonly Route[]): Node | null {
  if (routes.length === 0) return null;
  const root = emptyNode();
  for (const route of routes) addRoute(root, route);
  return root;
}

function addRoute(root: Node, route: Route): void {
  let node = root;
  for (const segment of splitPath(route.caseSensitive ? route.name : route.name.toLowerCase())) {
    if (segment === '**') {
      node.rest.push(route);
      return;
    }
    if (segment === '') break;
    node = childFor(node, segment);
  }
  node.routes.push(route);
}

function childFor(node: Node, segment: string): Node {
  if (segment === '*') {
    node.any ??= emptyNode();
    return node.any;
  }
  const child = node.literals.get(segment) ?? emptyNode();
  node.literals.set(segment, child);
  return child;
}

interface Candidate {
  readonly routes: readonly Route[];
  /** One character a segment, smaller is more specific: literal `0`, `*` `1`, `**` `2`. */
  readonly rank: string;
}

function mostSpecific(root: Node | null, segments: readonly string[]): Candidate | null {
  return root && descend(root, segments, 0, '');
}

function descend(node: Node, segments: readonly string[], at: number, rank: string): Candidate | null {
  const segment = segments[at];
  // A single slash at the end asks for the same rule as none: /api/admin/ is governed like /api/admin.
  const ended = segment === undefined || (segment === '' && at === segments.length - 1);
  if (ended && node.routes.length > 0) return { routes: node.routes, rank };
  if (segment !== undefined && segment !== '') {
    const literal = node.literals.get(segment);
    const found =
      (literal && descend(literal, segments, at + 1, `${rank}0`)) ??
      (node.any && descend(node.any, segments, at + 1, `${rank}1`));
    if (found) return found;
  }
  return node.rest.length > 0 ? { routes: node.rest, rank: `${rank}2` } : null;
}

function moreSpecific(exact: Candidate | null, folded: Candidate | null): Candidate | null {
  if (!exact || !folded) return exact ?? folded;
  return exact.rank <= folded.rank ? exact : folded;
}

function pickMethod(method: string, candidate: Candidate | null): RouteMatch {
  if (!candidate) return { found: 'nothing' };
  const route =
    candidate.routes.find((each) => each.methods?.has(method)) ??
    candidate.routes.find((each) => each.methods === null);
  if (route) return { found: 'route', route };
  const allow = new Set(candidate.routes.flatMap((each) => [...(each.methods ?? [])]));
  return { found: 'other-methods', allow: [...allow] };
}

function sameRequests(a: RouteOptions, b: RouteOptions): boolean {
  if (comparable(a) !== comparable(b)) return false;
  if (a.caseSensitive && b.caseSensitive && withoutSlash(a.path) !== withoutSlash(b.path)) return false;
  if (!a.methods || !b.methods) return !a.methods && !b.methods;
  const ofA = withHead(a.methods);
  return withHead(b.methods).some((method) => ofA.includes(method));
}

function comparable(route: RouteOptions): string {
  return withoutSlash(route.path.toLowerCase());
}

function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function splitPath(path: string): string[] {
  return path.slice(1).split('/');
}

function nextSlash(path: string, from: number): number {
  const at = path.indexOf('/', from);
  return at === -1 ? path.length : at;
}

function emptyNode(): Node {
  return { literals: new Map(), any: null, routes: [], rest: [] };
}
