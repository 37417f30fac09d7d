// How often may somebody ask? The settings of a route's limit, and by what its requests are counted. Pure.
import * as z from 'zod';
import { duration } from '../duration.ts';
import { addressGroup } from './client-address.ts';

export const rateLimitSchema = z.strictObject({
  requests: z.int().min(1).describe('Requests that pass within the time; further ones get 429.'),
  per: duration('1m').describe('The time; it begins with the first request that is counted.'),
  by: z
    .enum(['person', 'address', 'both'])
    .default('person')
    .describe('Whose requests are counted together; who is not signed in is counted by address.'),
});

export type RateLimit = z.output<typeof rateLimitSchema>;

/** The names under which a request is counted; each has the limit for itself. @param userId null for anonymous callers */
export function countedAs(by: RateLimit['by'], userId: string | null, address: string): string[] {
  const ofAddress = `address:${addressGroup(address)}`;
  if (userId === null || by === 'address') return [ofAddress];
  return by === 'both' ? [`person:${userId}`, ofAddress] : [`person:${userId}`];
}
