// Names for a session that are of no use to who finds them.
import { createHash } from 'node:crypto';

/** Names the session in Redis and in gateway_ended_session. SHA-256, hex. */
export function tokenHash(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** Names the session towards upstreams (X-Gateway-Session); not the key above. */
export function publicSessionHash(sessionId: string): string {
  return createHash('sha256').update(`x-gateway-session:${sessionId}`).digest('base64url').slice(0, 22);
}
