// Which rule governs this request? The host's routes before those of any host, then the most specific path.
// Pure: a table is built once and asked per request.
import { hostName, hostPatterns } from './host.ts';
import { isOwnPath } from './own-paths.ts';
import { createPathTree, type FindByPath } from './path-tree.ts';
import type { Ambiguity } from './readings.ts';
import { compileRoute, type Route } from './route.ts';
import type { RouteOptions } from './route-options.ts';
import type { Target } from './target.ts';

export type RouteMatch =
  | { found: 'route'; route: Route }
  | { found: 'other-methods'; allow: string[] }
  | { found: 'nothing' }
  /** The target has readings, and no route that opted in has them all. */
  | { found: 'ambiguous'; reason: Ambiguity['reason'] };

/** @param host the Host header, or what a trusted proxy says it was */
export type MatchRoute = (method: string, target: Target, host: string) => RouteMatch;

/** @throws nothing: conflicts are found by routeConflicts() when the configuration is read */
export function createRouteTable(options: readonly RouteOptions[]): MatchRoute {
  const find = createHostTable(options);
  return (method, target, host) => {
    if (target.ambiguity) return matchReadings(find, method, target.ambiguity, host);
    return pickMethod(method, find(target.matchPath, host));
  };
}

type FindRoutes = (path: string, host: string) => readonly Route[] | null;

function createHostTable(options: readonly RouteOptions[]): FindRoutes {
  const anywhere: Route[] = [];
  const byHost = new Map<string, Route[]>();
  for (const each of options) {
    const route = compileRoute(each);
    if (!each.hosts) anywhere.push(route);
    for (const host of each.hosts ?? []) byHost.set(host, [...(byHost.get(host) ?? []), route]);
  }
  const findAnywhere = createPathTree(anywhere);
  if (byHost.size === 0) return findAnywhere;
  const trees = new Map<string, FindByPath<Route>>();
  for (const [host, routes] of byHost) trees.set(host, createPathTree(routes));
  return (path, host) => {
    for (const pattern of hostPatterns(hostName(host))) {
      const routes = trees.get(pattern)?.(path);
      if (routes) return routes;
    }
    return findAnywhere(path);
  };
}

/** One route must have them all: where readings disagree, the upstream's might be the one with the stronger rule. */
function matchReadings(find: FindRoutes, method: string, ambiguity: Ambiguity, host: string): RouteMatch {
  const refused: RouteMatch = { found: 'ambiguous', reason: ambiguity.reason };
  let agreed: Route | null = null;
  for (const reading of ambiguity.readings) {
    const match = pickMethod(method, find(reading, host));
    if (match.found !== 'route' || isOwnPath(reading)) return refused;
    agreed ??= match.route;
    if (match.route !== agreed || !optsIn(match.route, ambiguity)) return refused;
  }
  return agreed ? { found: 'route', route: agreed } : refused;
}

function optsIn(route: Route, { encodedSlash, pathParameter }: Ambiguity): boolean {
  return (route.encodedSlashes || !encodedSlash) && (route.pathParameters || !pathParameter);
}

function pickMethod(method: string, routes: readonly Route[] | null): RouteMatch {
  if (!routes) return { found: 'nothing' };
  const route =
    routes.find((each) => each.methods?.has(method)) ?? routes.find((each) => each.methods === null);
  if (route) return { found: 'route', route };
  const allow = new Set(routes.flatMap((each) => [...(each.methods ?? [])]));
  return { found: 'other-methods', allow: [...allow] };
}
