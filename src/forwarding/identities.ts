// What each upstream is told about a person, made once and kept for as long as the session stays in memory.
import { identityHeaders } from '../policy/identity.ts';
import type { Session } from '../policy/session.ts';
import type { Upstream } from './upstream.ts';

export interface IdentityParts {
  /** The person's GitHub token in the clear. Throws a GatewayError when there is none to give. */
  readonly readToken: (session: Session) => Promise<string>;
  /** Names the session to upstreams without being of use to anyone who reads it. */
  readonly sessionHash: (sessionId: string) => string;
}

/** Headers that announce the person to this upstream, the GitHub token included where it asks for it. */
export type Identify = (
  session: Session,
  upstream: Upstream,
  options?: { token: boolean },
) => string[] | Promise<string[]>;

/** The returned function throws what readToken throws. The decrypted token is gone with the session. */
export function preparedIdentities(parts: IdentityParts): Identify {
  const prepared = new WeakMap<Session, Map<Upstream, string[]>>();
  return (session, upstream, options) => {
    const endsAt = session.github?.tokenExpiresAt ?? Number.POSITIVE_INFINITY;
    const known =
      endsAt > Date.now() && options === undefined ? prepared.get(session)?.get(upstream) : undefined;
    if (known) return known;
    return identify(session, upstream, parts, options).then((headers) => {
      if (options === undefined)
        prepared.set(session, (prepared.get(session) ?? new Map()).set(upstream, headers));
      return headers;
    });
  };
}

async function identify(
  session: Session,
  { options }: Upstream,
  { readToken, sessionHash }: IdentityParts,
  { token: sendsToken } = { token: true },
): Promise<string[]> {
  const headers = identityHeaders(session, options.identity, sessionHash(session.id));
  if (options.githubToken === 'none' || !sendsToken) return headers;
  const token = await readToken(session);
  if (options.githubToken === 'bearer') return [...headers, 'Authorization', `Bearer ${token}`];
  return [...headers, 'X-Forwarded-Access-Token', token];
}
