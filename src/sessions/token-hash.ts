// Names for a session that are of no use to who finds them.
import { hash } from 'node:crypto';

/** Names the session in Redis and in gateway_ended_session. SHA-256, hex. */
export function tokenHash(token: string): string {
  return hash('sha256', token, 'hex');
}

/** Names the session towards upstreams (X-Gateway-Session); not the key above. */
export function publicSessionHash(sessionId: string): string {
  return hash('sha256', `x-gateway-session:${sessionId}`, 'base64url').slice(0, 22);
}
