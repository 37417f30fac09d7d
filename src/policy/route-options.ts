// The settings of a route, declared once, and what is wrong with a list of them. Pure.
import * as z from 'zod';

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
  impersonation: z
    .enum(['read-only', 'full'])
    .default('read-only')
    .describe('What an administrator who acts as somebody else may do: read, or everything.'),
  caseSensitive: z.boolean().default(false).describe('Match letters exactly instead of ignoring ASCII case.'),
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

/** GET includes HEAD. */
export function withHead(methods: readonly string[]): string[] {
  return methods.includes('GET') ? [...methods, 'HEAD'] : [...methods];
}

/** The segments of a path or pattern. */
export function splitPath(path: string): string[] {
  return path.slice(1).split('/');
}
