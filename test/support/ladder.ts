// The session lookup by itself, on real stores, with rows that are written past it.
import { createHmac, randomBytes } from 'node:crypto';
import type { KyselyPlugin } from 'kysely';
import { type GatewayConfig, loadConfig } from '../../src/config/load.ts';
import { openDatabase } from '../../src/database/database.ts';
import { migrateStore } from '../../src/gateway.ts';
import type { LookUpSession } from '../../src/policy/session.ts';
import { credentialReader } from '../../src/sessions/cookie.ts';
import { createLookup } from '../../src/sessions/lookup.ts';
import { openRedis } from '../../src/sessions/redis.ts';
import { createSharedTier, type SharedTier } from '../../src/sessions/shared.ts';
import { type ReadSession, storeReader } from '../../src/sessions/store.ts';
import { startSurroundings, type TestGatewayOptions } from './gateway.ts';
import { openTestStore, type TestStore } from './store.ts';

const COOKIE = 'better-auth.session_token';

export interface Ladder {
  readonly lookUp: LookUpSession;
  readonly readStore: ReadSession;
  /** Null without Redis. */
  readonly shared: SharedTier | null;
  /** Tiers that could not be asked, in turn. */
  readonly tierErrors: string[];
  readonly store: TestStore;
  readonly config: GatewayConfig;
  /** Queries sent to the store so far. */
  queries(): number;
  close(): Promise<void>;
}

/** @param env replaces the address of a store, by that of a proxy in front of it */
export async function openLadder(
  stores: TestGatewayOptions['stores'],
  env: (config: GatewayConfig) => Promise<Record<string, string>> = async () => ({}),
): Promise<Ladder> {
  const opened = new AsyncDisposableStack();
  const around = await startSurroundings({ stores });
  opened.defer(around.close);
  try {
    const config = loadConfig(around.env);
    await migrateStore(config);
    const store = openTestStore(config);
    opened.defer(store.close);
    return { ...(await join(loadConfig({ ...around.env, ...(await env(config)) }), opened)), store, config };
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

async function join(config: GatewayConfig, opened: AsyncDisposableStack) {
  const { database, queries } = countQueries(openDatabase(config));
  opened.defer(database.close);
  const redis = config.redisUrl === null ? null : await openRedis(config.redisUrl, () => {});
  opened.defer(() => redis?.disconnect());
  const secrets = config.secrets.map(({ value }) => value);
  const shared = redis && createSharedTier(redis, secrets[0] ?? '');
  const readStore = storeReader(database);
  const tierErrors: string[] = [];
  const lookUp = createLookup({
    readCredential: credentialReader(COOKIE, secrets),
    shared,
    readStore,
    onTierError: (tier) => tierErrors.push(tier),
  });
  return { lookUp, readStore, shared, tierErrors, queries, close: () => opened.disposeAsync() };
}

function countQueries(database: ReturnType<typeof openDatabase>) {
  let count = 0;
  const counter: KyselyPlugin = {
    transformQuery({ node }) {
      count += 1;
      return node;
    },
    transformResult: async ({ result }) => result,
  };
  const kysely = database.kysely.withPlugin(counter);
  return { database: { ...database, kysely }, queries: () => count };
}

export interface Rows {
  readonly expiresAt?: Date;
  readonly impersonatedBy?: string;
  readonly role?: string | null;
  readonly banned?: boolean;
  readonly banReason?: string;
  readonly banExpires?: Date;
  /** False leaves the account out. */
  readonly account?: boolean;
  readonly scope?: string | null;
  /** False leaves the profile out: a person another application made. */
  readonly profile?: boolean;
  readonly scopesKnown?: boolean;
  readonly accessToken?: string;
  readonly accessTokenExpiresAt?: Date;
}

export interface Stored {
  readonly userId: string;
  readonly sessionId: string;
  readonly githubId: string;
  readonly login: string;
  readonly email: string;
  readonly token: string;
  /** A Cookie header. */
  readonly cookie: string;
}

let people = 0;

/** A person with a session, an account and a profile, unless told otherwise. */
export async function addRows(store: TestStore, rows: Rows = {}): Promise<Stored> {
  people += 1;
  const count = people;
  const [userId, sessionId, login] = [`user-${count}`, `session-${count}`, `login-${count}`];
  const [githubId, email] = [String(7_000_000 + count), `${login}@example.net`];
  const token = randomBytes(16).toString('hex');
  const now = new Date().toISOString();
  const { role = 'user', expiresAt = new Date(Date.now() + 3_600_000) } = rows;
  const ban = [
    rows.banned ? 1 : null,
    rows.banReason ?? null,
    rows.banExpires?.toISOString() ?? null,
  ] as const;
  await store.query(
    `insert into "user" (id, name, email, "emailVerified", "createdAt", "updatedAt", role, banned, "banReason", "banExpires")
      values ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9)`,
    ...[userId, `Name ${count}`, email, 1, now, role, ...ban],
  );
  await store.query(
    `insert into session (id, token, "userId", "expiresAt", "createdAt", "updatedAt", "impersonatedBy")
      values ($1, $2, $3, $4, $5, $5, $6)`,
    ...[sessionId, token, userId, expiresAt.toISOString(), now, rows.impersonatedBy ?? null],
  );
  const { account = true, profile = true, scope = 'public_repo,user:email' } = rows;
  const { accessToken = `v1.key.encrypted-${count}`, accessTokenExpiresAt } = rows;
  if (account)
    await store.query(
      `insert into account (id, "accountId", "providerId", "userId", "accessToken", "accessTokenExpiresAt", scope, "createdAt", "updatedAt")
        values ($1, $2, 'github', $3, $4, $5, $6, $7, $7)`,
      ...[`account-${count}`, githubId, userId, accessToken],
      ...[accessTokenExpiresAt?.toISOString() ?? null, scope, now],
    );
  if (profile)
    await store.query(
      `insert into gateway_github_profile ("userId", "githubId", login, "tokenKind", "scopesKnown", "updatedAt")
        values ($1, $2, $3, 'oauth', $4, $5)`,
      ...[userId, githubId, login, (rows.scopesKnown ?? true) ? 1 : 0, now],
    );
  return { userId, sessionId, githubId, login, email, token, cookie: cookieOf(token) };
}

/** A Cookie header as Better Auth signs it. */
export function cookieOf(token: string, secret = 'a-secret-for-tests-0123456789abcdefghij'): string {
  const signature = createHmac('sha256', secret).update(token).digest('base64');
  return `${COOKIE}=${encodeURIComponent(`${token}.${signature}`)}`;
}
