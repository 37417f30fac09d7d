// The JWE cookie (session_data) that Better Auth issues beside the session cookie: what it holds. Whether it may be believed
// is for others to say.
import { symmetricDecodeJWT } from 'better-auth/crypto';
import { pairsOf } from '../policy/cookies.ts';
import type { Ban, Session } from '../policy/session.ts';

/** Better Auth's name for this use of the secret. */
const SALT = 'better-auth-session';

/** In one piece, or in numbered ones. */
export function sessionDataValue(cookieHeader: string | undefined, cookieName: string): string | null {
  if (!cookieHeader?.includes(cookieName)) return null;
  const chunks: string[] = [];
  for (const { name, value } of pairsOf(cookieHeader)) {
    if (name === cookieName) return value;
    const index = name.startsWith(`${cookieName}.`) ? name.slice(cookieName.length + 1) : '';
    if (/^\d{1,2}$/.test(index)) chunks[Number(index)] = value;
  }
  return chunks.length === 0 ? null : chunks.join('');
}

export interface SessionData {
  readonly session: Session;
  /** Epoch milliseconds. */
  readonly madeAt: number;
}

/** Null for what none of the secrets has encrypted, and for another session's. */
export async function decodeSessionData(
  value: string,
  secrets: readonly string[],
  token: string,
): Promise<SessionData | null> {
  for (const secret of secrets) {
    const payload = await symmetricDecodeJWT<Partial<Claims>>(value, secret, SALT);
    if (payload) return payloadOf(payload, token);
  }
  return null;
}

/** What Better Auth writes; dates are ISO text. */
interface Claims {
  session: { id: string; token: string; userId: string; expiresAt: string; impersonatedBy?: string | null };
  user: {
    id: string;
    email: string;
    name: string;
    role?: string | null;
    banned?: boolean | null;
    banReason?: string | null;
    banExpires?: string | null;
  };
  updatedAt: number;
}

function payloadOf({ session, user, updatedAt }: Partial<Claims>, token: string): SessionData | null {
  if (!session || !user || typeof updatedAt !== 'number') return null;
  if (session.token !== token || session.userId !== user.id) return null;
  const expiresAt = Date.parse(session.expiresAt);
  if (!(expiresAt > Date.now())) return null;
  return {
    madeAt: updatedAt,
    session: {
      id: session.id,
      userId: user.id,
      expiresAt,
      impersonatedBy: session.impersonatedBy ?? null,
      email: user.email,
      name: user.name,
      role: user.role ?? 'user',
      ban: banOf(user),
      github: undefined,
    },
  };
}

function banOf({ banned, banReason, banExpires }: Claims['user']): Ban | null {
  if (!banned) return null;
  return { reason: banReason ?? null, expiresAt: banExpires ? Date.parse(banExpires) : null };
}
