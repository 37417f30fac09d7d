// What each upstream is told about a person, made once and kept for as long as the session stays in memory.
import { identityHeaders } from '../policy/identity.ts';
import type { Session } from '../policy/session.ts';
import { announce, type IdentityHeaders } from './identity-headers.ts';
import type { Upstream } from './upstream.ts';

export interface IdentityParts {
  /**
   * The person's GitHub token in the clear, when it ends, and until when it may be kept; in epoch milliseconds. Throws a
   * GatewayError when there is none to give.
   */
  readonly readToken: (
    session: Session,
  ) => Promise<{ token: string; expiresAt: number | null; keepUntil: number }>;
  /** Names the session to upstreams without being of use to anyone who reads it. */
  readonly sessionHash: (sessionId: string) => string;
}

/** Headers that announce the person to this upstream, the GitHub token included where it asks for it. */
export type Identify = (
  session: Session,
  upstream: Upstream,
  options?: { token: boolean },
) => IdentityHeaders | Promise<IdentityHeaders>;

interface Prepared {
  readonly headers: IdentityHeaders;
  readonly keepUntil: number;
}

/** The returned function throws what readToken throws. The decrypted token is gone with the session. */
export function preparedIdentities(parts: IdentityParts): Identify {
  const prepared = new WeakMap<Upstream, WeakMap<Session, Prepared>>();
  return (session, upstream, options) => {
    if (options?.token === false) return announce(personal(session, upstream, parts));
    const known = prepared.get(upstream)?.get(session);
    if (known && (known.keepUntil === Number.POSITIVE_INFINITY || known.keepUntil > Date.now()))
      return known.headers;
    return prepare(session, upstream, parts).then((made) => {
      prepared.set(upstream, (prepared.get(upstream) ?? new WeakMap()).set(session, made));
      return made.headers;
    });
  };
}

function personal(session: Session, { options }: Upstream, { sessionHash }: IdentityParts): string[] {
  return identityHeaders(session, options.identity, sessionHash(session.id));
}

async function prepare(session: Session, upstream: Upstream, parts: IdentityParts): Promise<Prepared> {
  const { githubToken, githubTokenExpires } = upstream.options;
  const headers = personal(session, upstream, parts);
  if (githubToken === 'none') return { headers: announce(headers), keepUntil: Number.POSITIVE_INFINITY };
  const { token, expiresAt, keepUntil } = await parts.readToken(session);
  if (githubToken === 'bearer') headers.push('Authorization', `Bearer ${token}`);
  else headers.push('X-Forwarded-Access-Token', token);
  if (githubTokenExpires === 'forwarded' && expiresAt !== null)
    headers.push('X-Gateway-Token-Expires', new Date(expiresAt).toISOString());
  return { headers: announce(headers), keepUntil };
}
