// The JWE cookie (session_data) that Better Auth issues beside the session cookie: what it holds. Whether it may be believed
// is for others to say.
import { pairsOf } from '../policy/cookies.ts';
import type { Ban, Session } from '../policy/session.ts';
import { jweOpener } from './jwe.ts';

/** Better Auth's name for this use of the secret. */
const USE = 'better-auth-session';

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
  /** Of the session: whoever shows another one is not the person. */
  readonly token: string;
  /** Epoch milliseconds. */
  readonly madeAt: number;
}

/** Null for what none of the secrets has encrypted, and for what has ended. */
export type ReadSessionData = (value: string) => SessionData | null;

/** @param secrets all that may have encrypted it */
export function sessionDataReader(secrets: readonly string[]): ReadSessionData {
  const open = jweOpener(secrets, USE);
  return (value) => {
    const claims = open(value) as Partial<Claims> | null;
    return claims && sessionDataOf(claims);
  };
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

function sessionDataOf({ session, user, updatedAt }: Partial<Claims>): SessionData | null {
  if (!session || !user || typeof updatedAt !== 'number') return null;
  if (typeof session.token !== 'string' || session.userId !== user.id) return null;
  const expiresAt = Date.parse(session.expiresAt);
  if (!(expiresAt > Date.now())) return null;
  return {
    token: session.token,
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
