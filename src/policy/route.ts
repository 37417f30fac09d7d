// Which rule governs this request? The most specific path wins, wherever it stands in the file.
// Pure: a table is built once and asked per request.
import { type RouteOptions, splitPath, withHead } from './route-options.ts';
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

/** The path the upstream is asked for: the judged one, less the route's prefix. */
export function upstreamPath(route: Route, target: Target): string {
  if (route.stripPrefix === '') return target.path;
  // Counted in segments, not characters: an escaped letter in the prefix is longer than the letter.
  let at = 0;
  for (let left = route.stripPrefix.split('/').length - 1; left > 0; left--)
    at = nextSlash(target.path, at + 1);
  return target.path.slice(at) || '/';
}

function compileRoute(options: RouteOptions): Route {
  return {
    name: options.path,
    methods: options.methods ? new Set(withHead(options.methods)) : null,
    upstream: options.upstream,
    access: compileAccess(options),
    stripPrefix: options.stripPrefix ?? '',
    caseSensitive: options.caseSensitive,
  };
}

function compileAccess({ access, impersonation }: RouteOptions): Access {
  const impersonatorWrites = impersonation === 'full';
  if (typeof access === 'object') return { kind: 'session', ...access, impersonatorWrites };
  return { kind: access, scopes: [], roles: [], unknownScopes: 'deny', impersonatorWrites };
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

function nextSlash(path: string, from: number): number {
  const at = path.indexOf('/', from);
  return at === -1 ? path.length : at;
}

function emptyNode(): Node {
  return { literals: new Map(), any: null, routes: [], rest: [] };
}
