// CORS at the edge: preflights answered here, and the headers of every answer on a route that names origins.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { corsHeaders, preflightHeaders } from '../policy/cors.ts';
import type { Route } from '../policy/route.ts';
import type { RouteMatch } from '../policy/route-table.ts';

/** Does a browser ask what a page may send? Cookies on such a question are nobody's (Fetch standard, CORS-preflight). */
export function isPreflight({ method, headers }: FastifyRequest): boolean {
  return (
    method === 'OPTIONS' &&
    headers.origin !== undefined &&
    headers['access-control-request-method'] !== undefined
  );
}

/**
 * Answers for a route that names origins: nobody is asked who it is, and nothing goes up.
 *
 * @param match finds the route by the method that is asked about
 * @returns false when the request is an upstream's like any other
 */
export function answerPreflight(
  request: FastifyRequest,
  reply: FastifyReply,
  match: (method: string) => RouteMatch,
): boolean {
  if (!isPreflight(request)) return false;
  const { origin = '', 'access-control-request-method': method } = request.headers;
  const found = match(String(method));
  if (found.found !== 'route' || found.route.cors === null) return false;
  request.record.route = found.route.name;
  addHeaders(reply, preflightHeaders(found.route.cors, origin));
  reply.code(204).send();
  return true;
}

/**
 * Puts the route's CORS headers on whatever the gateway itself will answer.
 *
 * @returns them, for the upstream's answer; null where the route leaves CORS to its upstream
 */
export function allowReading(request: FastifyRequest, reply: FastifyReply, route: Route): string[] | null {
  if (route.cors === null) return null;
  const headers = corsHeaders(route.cors, request.method, request.headers.origin);
  addHeaders(reply, headers);
  return headers;
}

function addHeaders(reply: FastifyReply, headers: readonly string[]): void {
  for (let at = 0; at < headers.length; at += 2) reply.header(headers[at] as string, headers[at + 1]);
}
