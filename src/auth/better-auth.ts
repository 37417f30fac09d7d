// Better Auth, set up for this gateway: its tables, its cookies, our GitHub provider, our encryption.
import { type BetterAuthOptions, betterAuth } from 'better-auth';
import { admin } from 'better-auth/plugins';
import type { Database } from '../database/database.ts';
import type { GitHubClient, GitHubOptions } from './github.ts';
import { githubProvider } from './github-provider.ts';
import type { VersionedSecret } from './keys.ts';
import { patSignIn } from './pat-signin.ts';
import type { RecordSignIn } from './people.ts';
import type { TokenCipher } from './token-cipher.ts';
import { additionalUserFields, type UserFields } from './user-fields.ts';

const DAY_SECONDS = 24 * 60 * 60;

/** Told when what a session stands on changes; see sessions/revocations.ts. */
export interface ChangeHooks {
  sessionEnding(session: { token: string; userId: string; expiresAt: Date }): Promise<void>;
  sessionChanged(token: string): Promise<void>;
  userChanged(userId: string): Promise<void>;
}

export interface AuthParts {
  readonly publicUrl: string;
  readonly secrets: readonly VersionedSecret[];
  readonly trustedOrigins: readonly string[];
  readonly userFields: UserFields;
  readonly database: Database;
  readonly cipher: TokenCipher;
  readonly github: GitHubOptions;
  readonly githubClient: GitHubClient;
  readonly recordSignIn: RecordSignIn;
  /** GitHub scopes asked for at every sign-in. */
  readonly scopes: readonly string[];
  readonly changes: ChangeHooks;
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string) => void;
}

export type Auth = ReturnType<typeof createAuth>;

export function createAuth(parts: AuthParts) {
  return betterAuth(authOptions(parts));
}

function authOptions(parts: AuthParts) {
  const { publicUrl, database } = parts;
  const signInPage = `${publicUrl}/_gateway/sign-in`;
  return {
    appName: 'Better Hub Gateway',
    baseURL: publicUrl,
    basePath: '/api/auth',
    ...secretOptions(parts.secrets),
    trustedOrigins: [publicUrl, ...parts.trustedOrigins],
    database: { db: database.kysely, type: database.kind, transaction: true },
    session: {
      expiresIn: 7 * DAY_SECONDS,
      updateAge: DAY_SECONDS,
      // Issued for the time when no store answers, and for applications that read it; never believed by a store
      // that answers (see http/auth-routes.ts).
      cookieCache: { enabled: true, strategy: 'jwe', maxAge: 7 * DAY_SECONDS },
    },
    account: {
      // recordSignIn has written tokens and scopes already, in one transaction; Better Auth would not touch scopes.
      updateAccountOnSignIn: false,
      storeAccountCookie: false,
      accountLinking: { enabled: false },
      additionalFields: {
        accessToken: encryptedField(parts.cipher),
        refreshToken: encryptedField(parts.cipher),
        idToken: encryptedField(parts.cipher),
      },
    },
    user: { deleteUser: { enabled: true }, additionalFields: additionalUserFields(parts.userFields) },
    emailAndPassword: { enabled: false },
    // The gateway limits by itself, on the address it has found out.
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    advanced: {
      // Better Auth would remember missing tables until the process ends; /readyz looks again each time.
      database: { validateSchema: false },
      // Its default is to check nothing where NODE_ENV or TEST says that this is a test.
      disableOriginCheck: false,
      disableCSRFCheck: false,
      useSecureCookies: publicUrl.startsWith('https:'),
      // The edge overwrites this header with the client's address; see http/auth-routes.ts.
      ipAddress: { ipAddressHeaders: ['x-forwarded-for'], ipv6Subnet: 128 },
    },
    databaseHooks: changeHooks(parts.changes),
    // Errors of ours come out as they are; its own stay answers. Otherwise they would be printed past the log.
    onAPIError: { errorURL: signInPage, throw: true },
    logger: { level: 'warn', log: (level, message) => parts.log(level, message) },
    plugins: [admin(), patSignIn(parts.githubClient, parts.recordSignIn), ...providers(parts)],
  } satisfies BetterAuthOptions;
}

function providers({ github, githubClient, recordSignIn, scopes }: AuthParts) {
  if (github.client === null) return [];
  return [
    githubProvider({
      github: { ...github, client: github.client },
      client: githubClient,
      recordSignIn,
      scopes,
    }),
  ];
}

/** One secret is passed the plain way: what an application with the same one has encrypted stays readable. */
function secretOptions(secrets: readonly VersionedSecret[]): Pick<BetterAuthOptions, 'secret' | 'secrets'> {
  const [first] = secrets;
  if (secrets.length === 1 && first?.version === 0) return { secret: first.value };
  return { secrets: secrets.map((secret) => ({ ...secret })), secret: secrets.at(-1)?.value ?? '' };
}

function encryptedField(cipher: TokenCipher) {
  return {
    type: 'string' as const,
    required: false,
    returned: false,
    input: false,
    transform: {
      input: (value: unknown) => (typeof value === 'string' && value !== '' ? cipher.encrypt(value) : null),
      // Unreadable is as good as absent: the person signs in again.
      output: (value: unknown) =>
        typeof value === 'string' ? cipher.decrypt(value).catch(() => null) : null,
    },
  };
}

function changeHooks(changes: ChangeHooks): NonNullable<BetterAuthOptions['databaseHooks']> {
  return {
    session: {
      update: { after: async (session) => changes.sessionChanged(session.token) },
      delete: {
        before: async (session) => changes.sessionEnding(session),
        after: async (session) => changes.sessionChanged(session.token),
      },
    },
    user: {
      update: { after: async (user) => changes.userChanged(user.id) },
      delete: { after: async (user) => changes.userChanged(user.id) },
    },
    account: { update: { after: async (account) => changes.userChanged(account.userId) } },
  };
}
