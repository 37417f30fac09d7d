// The words between asking who someone is and deciding what they may do. Types only.

/** Why and until when a person may not enter. Times are epoch milliseconds; null means for good. */
export interface Ban {
  readonly reason: string | null;
  readonly expiresAt: number | null;
}

/** What the store holds about one session and the person it belongs to. Times are epoch milliseconds. */
export interface Session {
  readonly id: string;
  readonly userId: string;
  readonly expiresAt: number;
  /** User id of the administrator who acts as this person. */
  readonly impersonatedBy: string | null;
  readonly email: string;
  readonly name: string;
  /** Comma-separated when there are several, as Better Auth's admin plugin keeps them. */
  readonly role: string;
  readonly ban: Ban | null;
  /** Null without one; undefined when it could not be asked for (the JWE cookie does not hold it). */
  readonly github: GitHubAccount | null | undefined;
}

/** The person's GitHub account as last seen at a sign-in. */
export interface GitHubAccount {
  /** Numeric GitHub id, in decimal. */
  readonly id: string;
  /** Null until the gateway has seen the profile (a person created by another application). */
  readonly login: string | null;
  /** Encrypted; see auth/token-cipher.ts. */
  readonly encryptedToken: string | null;
  readonly tokenExpiresAt: number | null;
  /** Null when the token does not tell (fine-grained tokens). */
  readonly scopes: readonly string[] | null;
  /** GitHub has said that it takes the stored token no longer. */
  readonly tokenRefused?: boolean;
  /** Absent until GitHub was asked. */
  readonly memberships?: Memberships | null;
}

/** What GitHub said that a person belongs to: organizations (`acme`) and teams (`acme/core`), in lower case. */
export interface Memberships {
  /** Of those that were asked about. */
  readonly of: readonly string[];
  readonly asked: readonly string[];
  /** When it was asked, in epoch milliseconds. */
  readonly at: number;
}

/** Why a person who is signed in may not be here. */
export interface Restriction {
  readonly code: 'membership-missing' | 'github-access-denied' | 'reauth-required';
  readonly detail?: string;
  readonly fields: Record<string, unknown>;
}

/** Asking "who is this?" has three outcomes. `failed` must never be treated as `none`. */
export type Lookup =
  | {
      readonly outcome: 'found';
      readonly session: Session;
      readonly tier: Tier;
      readonly restriction?: Restriction;
    }
  | { readonly outcome: 'none'; readonly reason: NoSessionReason; readonly ban?: Ban }
  | { readonly outcome: 'failed'; readonly cause: unknown; readonly code?: 'github-unavailable' };

export type Tier = 'local' | 'shared' | 'store' | 'cookie';

export type NoSessionReason = 'no-session-cookie' | 'session-invalid' | 'session-expired' | 'user-banned';

/** Asks who a Cookie header belongs to. Never throws: a store that cannot be asked is `failed`. */
export type LookUpSession = (cookieHeader: string | undefined) => Lookup | Promise<Lookup>;

/** What an answer tells of a ban. */
export function banFields({ reason, expiresAt }: Ban): {
  banReason: string | null;
  banExpires: string | null;
} {
  return { banReason: reason, banExpires: expiresAt === null ? null : new Date(expiresAt).toISOString() };
}

/** Keeps a session alive that is used; gives Set-Cookie lines for the client, null when nothing is due. Never throws. */
export type RenewSession = (
  session: Session,
  cookieHeader: string | undefined,
) => null | Promise<readonly string[]>;

/**
 * The Cookie header for a service that reads sessions itself; undefined when nothing is left of it.
 *
 * @param session null when nobody is signed in; undefined when nobody has asked
 */
export type PassCookies = (cookieHeader: string, session: Session | null | undefined) => string | undefined;

/** Is this ban in force? Time is an argument so that the answer can be tested. */
export function isBanned(ban: Ban | null, now: number): ban is Ban {
  return ban !== null && (ban.expiresAt === null || ban.expiresAt > now);
}
