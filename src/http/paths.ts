// Links to the gateway's own paths, and what stands where nothing does yet.
import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../errors.ts';
import { AUTH_PATH, RESERVED_PATHS } from '../policy/own-paths.ts';

export function registerReservedPaths(app: FastifyInstance): void {
  for (const url of RESERVED_PATHS)
    app.all(url, () => {
      throw new GatewayError('route-not-found');
    });
}

/**
 * The link that signs a person in and brings them back.
 *
 * @param scopes asked for beyond the default ones
 * @param back path and query they came from
 */
export function signInUrl(publicUrl: string, scopes: readonly string[], back: string): string {
  const url = new URL(`${AUTH_PATH}/sign-in/social`, publicUrl);
  url.searchParams.set('provider', 'github');
  if (scopes.length > 0) url.searchParams.set('scopes', scopes.join(','));
  url.searchParams.set('callbackURL', back);
  return url.href;
}
