// The configuration file as a whole: the parts' own schemas, joined.
import { isIP } from 'node:net';
import * as z from 'zod';
import { userFieldsSchema } from '../auth/user-fields.ts';
import { duration, durationSchema } from '../duration.ts';
import { upstreamSchema } from '../forwarding/upstream-options.ts';
import { isOrigin } from '../policy/cross-site.ts';
import { routeSchema } from '../policy/route-options.ts';
import { MOST_WORKERS } from './environment.ts';

const NAME = /^[a-z][a-z0-9-]*$/;

const loginSchema = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,38}$/, 'is not a GitHub login');

const teamSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,38}\/[A-Za-z0-9_-]{1,100}$/, 'must read organization/team-slug');

const addressRangeSchema = z
  .string()
  .describe('An IP address or a CIDR range.')
  .refine(isAddressRange, 'must be an IP address or a range such as 10.0.0.0/8');

const originSchema = z
  .string()
  .describe('An origin as browsers write it, without a path.')
  .refine(isOrigin, 'must be an origin such as https://app.example.com, without a path or wildcard');

export const fileSchema = z
  .strictObject({
    upstreams: z
      .record(z.string().regex(NAME, 'must be a name of lower-case letters, digits and -'), upstreamSchema)
      .describe('The services behind the gateway, by name.'),
    routes: z
      .array(routeSchema)
      .min(1)
      .describe('Which paths go where, and who may pass. The most specific path wins.'),
    trustedProxies: z
      .array(addressRangeSchema)
      .default([])
      .describe('Proxies in front of the gateway whose X-Forwarded-* is believed.'),
    trustedOrigins: z
      .array(originSchema)
      .default([])
      .describe('Other origins whose pages may send requests with our cookies and be returned to.'),
    admins: z
      .array(loginSchema)
      .default([])
      .describe('GitHub logins that get the role admin when they sign in.'),
    signIn: z
      .strictObject({
        logins: z.array(loginSchema).default([]).describe('GitHub logins that may sign in.'),
        organizations: z
          .array(loginSchema)
          .default([])
          .describe('GitHub organizations whose members may sign in.'),
        teams: z
          .array(teamSchema)
          .default([])
          .describe('GitHub teams whose members may sign in, as organization/slug.'),
        recheck: duration('15m').describe('How often GitHub is asked again about people who are signed in.'),
        staleIfError: duration('1h').describe('How long its last answer counts while GitHub is away.'),
      })
      .prefault({})
      .describe('Who may sign in: whoever is on one of the lists; everyone when all are empty.'),
    streams: z
      .strictObject({
        perPerson: z
          .int()
          .min(1)
          .default(100)
          .describe('Event streams and WebSockets one person may have open; further ones get 429.'),
        total: z
          .int()
          .min(1)
          .default(10_000)
          .describe('Event streams and WebSockets open in all; further ones get 503.'),
      })
      .prefault({})
      .describe('How many streams one process keeps open at a time.'),
    sessions: z
      .strictObject({
        staleIfError: duration('15m').describe('How long a cached session is served while no store answers.'),
        cookieFallback: z
          .union([z.literal('off').transform(() => 0), durationSchema], {
            error: 'must be off, or a duration such as 500ms, 2s, 5m or 1h',
          })
          .prefault('5m')
          .describe('How old a JWE cookie may be to count while no store answers; or off.'),
      })
      .prefault({}),
    userFields: userFieldsSchema,
    githubTokens: z
      .strictObject({
        format: z
          .enum(['aes-256-gcm', 'better-auth'])
          .default('aes-256-gcm')
          .describe(
            'How tokens are written; both are read. better-auth: for a database shared with an application.',
          ),
        onSignOutEverywhere: z
          .enum(['keep', 'delete'])
          .default('keep')
          .describe(
            'What becomes of a person’s GitHub token when all their sessions are ended. delete: at GitHub, too.',
          ),
      })
      .prefault({}),
    server: z
      .strictObject({
        workers: z
          .union([z.literal('auto'), z.int().min(1).max(MOST_WORKERS)], {
            error: `must be auto, or a number from 1 to ${MOST_WORKERS}`,
          })
          .default(1)
          .describe('Number of processes that serve; auto: one per core.'),
        maxRequests: z
          .int()
          .min(1)
          .default(10_000)
          .describe('Requests under way in one process, streams aside; further ones get 503.'),
        maxDelay: duration('1s').describe('How late the event loop may be before requests get 503.'),
      })
      .prefault({}),
  })
  .describe('Configuration of the Better Hub Gateway.');

export type FileOptions = z.output<typeof fileSchema>;

/** The JSON Schema editors use; written to config/gateway.schema.json. */
export function configJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(fileSchema, { io: 'input', target: 'draft-2020-12' }) as Record<string, unknown>;
}

function isAddressRange(text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/');
  const bits = isIP(address) === 4 ? 32 : 128;
  if (isIP(address) === 0 || more.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
}
