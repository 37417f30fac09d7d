// The tables as Kysely sees them: Better Auth's four, with its names, and our own beside them.
// No column is ever added to the four: they may belong to an application that was there first.

/** Dates are Date in Postgres and ISO text in SQLite; booleans are boolean and 0/1. See values.ts. */
export type StoredDate = Date | string;
export type StoredBoolean = boolean | number;

export interface UserTable {
  id: string;
  name: string;
  email: string;
  emailVerified: StoredBoolean;
  image: string | null;
  role: string | null;
  banned: StoredBoolean | null;
  banReason: string | null;
  banExpires: StoredDate | null;
  createdAt: StoredDate;
  updatedAt: StoredDate;
}

export interface SessionTable {
  id: string;
  token: string;
  userId: string;
  expiresAt: StoredDate;
  updatedAt: StoredDate;
  impersonatedBy: string | null;
}

export interface AccountTable {
  id: string;
  accountId: string;
  providerId: string;
  userId: string;
  accessToken: string | null;
  refreshToken: string | null;
  idToken: string | null;
  accessTokenExpiresAt: StoredDate | null;
  refreshTokenExpiresAt: StoredDate | null;
  /** Comma-separated, in GitHub's order. */
  scope: string | null;
  createdAt: StoredDate;
  updatedAt: StoredDate;
}

/** What a sign-in saw of a person at GitHub. */
export interface GitHubProfileTable {
  userId: string;
  githubId: string;
  login: string;
  tokenKind: TokenKind;
  tokenExpiresAt: StoredDate | null;
  /** 0 when the token does not list its scopes. */
  scopesKnown: number;
  updatedAt: StoredDate;
}

/** What GitHub said when it was last asked about a person. */
export interface GitHubCheckTable {
  userId: string;
  /** Names the stored token that GitHub takes no longer; see github-checks.ts. */
  refusedToken: string | null;
  /** Of those asked about, separated by spaces; null before it was asked. */
  memberships: string | null;
  membershipsAsked: string | null;
  checkedAt: StoredDate;
}

export type TokenKind = 'oauth' | 'app' | 'classic' | 'fine-grained';

/** Sessions that a ban ended, so that their cookie is answered "banned" and not "unknown". */
export interface EndedSessionTable {
  tokenHash: string;
  userId: string;
  until: StoredDate;
}

export interface Tables {
  user: UserTable;
  session: SessionTable;
  account: AccountTable;
  gateway_github_profile: GitHubProfileTable;
  gateway_ended_session: EndedSessionTable;
  gateway_github_check: GitHubCheckTable;
}
