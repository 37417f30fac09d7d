// Which pages of other origins may read a route's answers? The gateway decides, not the upstream. Pure.
import * as z from 'zod';
import { duration } from '../duration.ts';
import { isOrigin } from './cross-site.ts';
import { METHODS } from './methods.ts';

const TOKEN = /^[A-Za-z0-9!#$%&'+.^_`|~-]+$/;

const headerNameSchema = z.string().regex(TOKEN, 'must be the name of a header');

export const corsSchema = z
  .strictObject({
    origins: z
      .array(
        z
          .string()
          .refine(
            (text) => text === '*' || isOrigin(text),
            'must be an origin such as https://app.example.com, without a path or wildcard, or * alone',
          ),
      )
      .min(1)
      .describe('Origins whose pages may read the answers, exactly as browsers write them; `*` for all.'),
    methods: z
      .array(z.enum(METHODS))
      .min(1)
      .optional()
      .describe('Methods those pages may use (GET includes HEAD); those of the route when absent.'),
    headers: z
      .array(headerNameSchema)
      .default(['content-type'])
      .describe('Request headers those pages may send beyond the ones every page may.'),
    exposeHeaders: z
      .array(headerNameSchema)
      .default([])
      .describe('Answer headers those pages may read beyond the ones every page may.'),
    credentials: z
      .boolean()
      .default(false)
      .describe('true: requests carry our cookies, and the origins are trusted on this route.'),
    maxAge: duration('10m').describe('How long browsers may remember the answer to a preflight.'),
  })
  .superRefine(({ origins, credentials }, context) => {
    const at = origins.indexOf('*');
    const message = credentials ? 'must not be * with credentials' : 'must stand alone when it is *';
    if (at !== -1 && (credentials || origins.length > 1))
      context.addIssue({ code: 'custom', path: ['origins', at], message });
  });

export type CorsOptions = z.output<typeof corsSchema>;

export interface CorsPolicy {
  /** Null: all. */
  readonly origins: ReadonlySet<string> | null;
  readonly methods: ReadonlySet<string>;
  /** Pages of these origins may send our cookies with these methods. */
  readonly credentials: boolean;
  /** Names and values in turn, for every answer that an origin may read. */
  readonly onAnswers: readonly string[];
  /** The same, for the answer to its preflight. */
  readonly onPreflights: readonly string[];
}

/** @param methods those of the route, GET without HEAD; null for all */
export function compileCors(options: CorsOptions, methods: ReadonlySet<string> | null): CorsPolicy {
  const allowed = new Set<string>(options.methods ?? methods ?? METHODS);
  if (allowed.has('GET')) allowed.add('HEAD');
  const credentials = options.credentials ? ['Access-Control-Allow-Credentials', 'true'] : [];
  const list = (name: string, values: Iterable<string>) => {
    const text = [...values].join(', ');
    return text === '' ? [] : [name, text];
  };
  return {
    origins: options.origins.includes('*') ? null : new Set(options.origins),
    methods: allowed,
    credentials: options.credentials,
    onAnswers: [...credentials, ...list('Access-Control-Expose-Headers', options.exposeHeaders)],
    onPreflights: [
      ...credentials,
      ...list('Access-Control-Allow-Methods', allowed),
      ...list('Access-Control-Allow-Headers', options.headers),
      ...['Access-Control-Max-Age', String(Math.floor(options.maxAge / 1000))],
    ],
  };
}

/** What a page of this origin is told on an answer: names and values in turn. `Vary` is for caches, whoever asked. */
export function corsHeaders(policy: CorsPolicy, method: string, origin: string | undefined): string[] {
  const named = policy.methods.has(method) ? namedOrigin(policy, origin) : null;
  if (named === null) return ['Vary', 'Origin'];
  return ['Vary', 'Origin', 'Access-Control-Allow-Origin', named, ...policy.onAnswers];
}

/** What the browser is told before it sends the page's request. */
export function preflightHeaders(policy: CorsPolicy, origin: string): string[] {
  const named = namedOrigin(policy, origin);
  if (named === null) return ['Vary', 'Origin'];
  return ['Vary', 'Origin', 'Access-Control-Allow-Origin', named, ...policy.onPreflights];
}

/** May pages of this origin act with the cookies of the person before them? */
export function trustsOrigin(policy: CorsPolicy, method: string, origin: string | undefined): boolean {
  return policy.credentials && policy.methods.has(method) && namedOrigin(policy, origin) !== null;
}

function namedOrigin({ origins }: CorsPolicy, origin: string | undefined): string | null {
  if (origins === null) return '*';
  return origin !== undefined && origins.has(origin) ? origin : null;
}
