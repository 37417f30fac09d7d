// The client's headers for an upstream that reads sessions itself: with the cookies of ours that it may believe.
import type { FastifyRequest } from 'fastify';
import type { Upstream } from '../forwarding/upstream.ts';
import type { PassCookies, Session } from '../policy/session.ts';

/**
 * The headers as they came for all other upstreams, which see no cookie of ours.
 *
 * @param session undefined when nobody has asked who it is
 */
export function passedHeaders(
  { raw, headers: { cookie } }: FastifyRequest,
  upstream: Upstream,
  session: Session | null | undefined,
  passCookies: PassCookies,
): readonly string[] {
  if (upstream.options.cookies !== 'pass' || cookie === undefined) return raw.rawHeaders;
  return withCookies(raw.rawHeaders, passCookies(cookie, session));
}

function withCookies(rawHeaders: readonly string[], passed: string | undefined): readonly string[] {
  const headers: string[] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name, value] = rawHeaders.slice(at, at + 2) as [string, string];
    if (name.toLowerCase() !== 'cookie') headers.push(name, value);
  }
  if (passed !== undefined) headers.push('Cookie', passed);
  return headers;
}
