// How often may somebody ask? The settings of a route's limit, and by what its requests are counted. Pure.
import * as z from 'zod';
import { duration } from '../duration.ts';

export const rateLimitSchema = z.strictObject({
  requests: z.int().min(1).describe('Requests that pass within the time; further ones get 429.'),
  per: duration('1m').describe('The time; it begins with the first request that is counted.'),
  by: z
    .enum(['person', 'address', 'both'])
    .default('person')
    .describe('Whose requests are counted together; who is not signed in is counted by address.'),
});

export type RateLimit = z.output<typeof rateLimitSchema>;

/** What a request is counted by; each has the limit for itself. */
export type CountedBy = 'person' | 'address';

export function countedBy(by: RateLimit['by'], isSignedIn: boolean): readonly CountedBy[] {
  if (!isSignedIn) return ['address'];
  return by === 'both' ? ['person', 'address'] : [by];
}
