// The settings of a route, declared once, and what is wrong with a list of them. Pure.
import * as z from 'zod';
import { durationSchema } from '../duration.ts';
import { sizeSchema } from '../size.ts';
import { corsSchema } from './cors.ts';
import { hostPatternSchema } from './host.ts';
import { METHODS, withHead } from './methods.ts';
import { rateLimitSchema } from './rate-limit.ts';

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

const PREFIX = /^(\/[A-Za-z0-9\-._~!$&'()+,=:@]+)+$/;

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
    .regex(PREFIX, 'must be a path such as /github, without a slash at the end')
    .optional()
    .describe('Leading segments removed before the path is sent on.'),
  rewrite: z
    .string()
    .refine(isPlainPath, 'must be a path such as /v2/items, or /, without dot segments')
    .optional()
    .describe('What is sent on instead of the path up to its first `*`, or of all of a path without one.'),
  impersonation: z
    .enum(['read-only', 'full'])
    .default('read-only')
    .describe('What an administrator who acts as somebody else may do: read, or everything.'),
  caseSensitive: z.boolean().default(false).describe('Match letters exactly instead of ignoring ASCII case.'),
  hosts: z
    .array(hostPatternSchema)
    .min(1)
    .optional()
    .describe(
      'Host names the route serves, before the routes of any host; `*.` stands for one or more labels.',
    ),
  encodedSlashes: z
    .enum(['refuse', 'allow'])
    .default('refuse')
    .describe('allow: `%2f` may stand in the path, if the route is the same once it is decoded.'),
  pathParameters: z
    .enum(['refuse', 'allow'])
    .default('refuse')
    .describe('allow: `;` may stand in the path, if the route is the same without what follows it.'),
  crossSite: z
    .enum(['refuse', 'allow'])
    .default('refuse')
    .describe(
      'allow: other sites may send unsafe requests with our cookies, as webhooks do that are signed.',
    ),
  cors: corsSchema.optional().describe('Pages of other origins that may read the answers.'),
  reportOnly: z
    .boolean()
    .default(false)
    .describe('true: what would be refused for its sender passes, and is logged with the reason.'),
  maxBodySize: sizeSchema.optional().describe('Largest body of a request; unlimited when absent.'),
  timeouts: z
    .strictObject({
      headers: durationSchema.optional().describe('Time from the request to the first line of the answer.'),
      idle: durationSchema.optional().describe('Longest silence within an answer.'),
      stream: durationSchema.optional().describe('Longest silence of an event stream or WebSocket.'),
    })
    .optional()
    .describe('Override the timeouts of the upstream.'),
  rateLimit: rateLimitSchema.optional().describe('How many requests pass in a time; further ones get 429.'),
  maxStreams: z
    .int()
    .min(1)
    .optional()
    .describe('Event streams and WebSockets open at a time on this route; further ones get 503.'),
  finalEvent: z
    .boolean()
    .default(false)
    .describe('true: an event stream that ends with its session is sent an `event: gateway` that says why.'),
});

export type RouteOptions = z.output<typeof routeSchema>;

/** Two routes that no request could tell apart; index is the later one's place in the list. */
export interface RouteConflict {
  index: number;
  message: string;
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

/** Sent on in front of what is left of a path: without a dot or empty segment the whole stays canonical. */
function isPlainPath(path: string): boolean {
  if (path === '/') return true;
  return PREFIX.test(path) && !splitPath(path).some((segment) => segment === '.' || segment === '..');
}

function sameRequests(a: RouteOptions, b: RouteOptions): boolean {
  if (!haveCommonHost(a, b)) return false;
  if (comparable(a) !== comparable(b)) return false;
  if (a.caseSensitive && b.caseSensitive && withoutSlash(a.path) !== withoutSlash(b.path)) return false;
  if (!a.methods || !b.methods) return !a.methods && !b.methods;
  const ofA = withHead(a.methods);
  return withHead(b.methods).some((method) => ofA.includes(method));
}

/** Routes of a host and routes of any stand beside each other, and so do a name and a `*.` that covers it. */
function haveCommonHost({ hosts: a }: RouteOptions, { hosts: b }: RouteOptions): boolean {
  if (!a || !b) return a === b;
  return a.some((host) => b.includes(host));
}

function comparable(route: RouteOptions): string {
  return withoutSlash(route.path.toLowerCase());
}

function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** The segments of a path or pattern. */
export function splitPath(path: string): string[] {
  return path.slice(1).split('/');
}
