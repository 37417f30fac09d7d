// A store with tables and no gateway, and the rows a test of the session lookup needs.
import { randomBytes } from 'node:crypto';
import { loadConfig } from '../../src/config/load.ts';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { migrateStore } from '../../src/gateway/commands.ts';
import { startSurroundings, type TestGatewayOptions } from './gateway.ts';
import { openTestStore, type TestStore } from './store.ts';

export interface PersonRow {
  readonly role?: string;
  readonly banned?: boolean;
  readonly banReason?: string;
  readonly banExpires?: Date;
  /** Null: nobody with a GitHub account. */
  readonly account?: { scope?: string | null; accessToken?: string; accessTokenExpiresAt?: Date } | null;
  /** Null: a person another application created. */
  readonly profile?: { login: string; scopesKnown: 0 | 1 } | null;
}

export interface SeededStore {
  readonly database: Database;
  readonly databaseUrl: string | null;
  readonly redisUrl: string | null;
  readonly rows: TestStore;
  /** @returns the user id */
  addPerson(person?: PersonRow): Promise<string>;
  /** @returns the session token; see {@link idOf} for the session's id */
  addSession(userId: string, session?: { expiresAt?: Date; impersonatedBy?: string }): Promise<string>;
  close(): Promise<void>;
}

export async function openSeededStore(stores: TestGatewayOptions['stores']): Promise<SeededStore> {
  const around = await startSurroundings({ stores });
  const config = loadConfig({ ...around.env, PORT: '1', BETTER_AUTH_URL: 'http://127.0.0.1:1' });
  await migrateStore(config);
  const database = openDatabase(config);
  const rows = openTestStore(config);
  const isTrue = (value: boolean) => (database.kind === 'sqlite' ? String(Number(value)) : String(value));
  const iso = (date: Date | undefined) => date?.toISOString() ?? null;
  const now = new Date().toISOString();
  return {
    database,
    databaseUrl: config.databaseUrl,
    redisUrl: config.redisUrl,
    rows,
    async addPerson({ role = 'user', banned = false, account = {}, profile, ...ban }: PersonRow = {}) {
      const id = `user-${newToken()}`;
      await rows.query(
        `insert into "user" (id, name, email, "emailVerified", role, banned, "banReason", "banExpires", "createdAt", "updatedAt")
         values ($1, 'Name', $2, ${isTrue(true)}, $3, ${isTrue(banned)}, $4, $5, $6, $6)`,
        id,
        `${id}@example.com`,
        role,
        ban.banReason ?? null,
        iso(ban.banExpires),
        now,
      );
      if (account !== null)
        await rows.query(
          `insert into account (id, "accountId", "providerId", "userId", scope, "accessToken", "accessTokenExpiresAt", "createdAt", "updatedAt")
           values ($1, $2, 'github', $3, $4, $5, $6, $7, $7)`,
          `account-${id}`,
          `github-${id}`,
          id,
          account.scope === undefined ? 'repo,user:email' : account.scope,
          account.accessToken ?? 'v1.encrypted',
          iso(account.accessTokenExpiresAt),
          now,
        );
      if (profile)
        await rows.query(
          `insert into gateway_github_profile ("userId", "githubId", login, "tokenKind", "scopesKnown", "updatedAt")
           values ($1, $2, $3, 'oauth', $4, $5)`,
          id,
          `github-${id}`,
          profile.login,
          profile.scopesKnown,
          now,
        );
      return id;
    },
    async addSession(userId, { expiresAt = new Date(Date.now() + 3_600_000), impersonatedBy } = {}) {
      const token = newToken();
      await rows.query(
        `insert into session (id, token, "userId", "expiresAt", "impersonatedBy", "createdAt", "updatedAt")
         values ($1, $2, $3, $4, $5, $6, $6)`,
        idOf(token),
        token,
        userId,
        expiresAt.toISOString(),
        impersonatedBy ?? null,
        now,
      );
      return token;
    },
    async close() {
      await rows.close();
      await database.close();
      await around.close();
    },
  };
}

/** Like Better Auth's: 32 characters. */
function newToken(): string {
  return randomBytes(16).toString('hex');
}

/** A session's id here. Its token must not stand in it: ids are told to Redis. */
export function idOf(token: string): string {
  return `id-${[...token].reverse().join('')}`;
}
