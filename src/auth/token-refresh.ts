// GitHub tokens that end (those of GitHub Apps live eight hours) are replaced before they do. A refresh token is good for
// one use and ends the old pair: so there is one refresh of an account at a time, whoever asks and at whatever gateway.
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { type Database, millisOf } from '../database/database.ts';
import type { AccountTable } from '../database/tables.ts';
import { GatewayError } from '../errors.ts';
import type { GitHubAccount } from '../policy/session.ts';
import type { GitHubClient, Grant } from './github.ts';
import { oneAtATime } from './one-at-a-time.ts';
import type { TokenCipher } from './token-cipher.ts';

/** A token in the clear, and when it ends, in epoch milliseconds; null when it does not. */
export interface CurrentToken {
  readonly token: string;
  readonly expiresAt: number | null;
}

/** Replaces the account's token, or gives the one somebody else has just put in its place. */
export type RefreshToken = (account: GitHubAccount) => Promise<CurrentToken>;

export interface TokenRefreshOptions {
  readonly database: Database;
  readonly cipher: TokenCipher;
  readonly client: Pick<GitHubClient, 'refresh'>;
  /** Told after the account of a person has changed. */
  readonly onUserChanged: (userId: string) => Promise<void>;
}

/** A token is replaced so long before it ends. */
export const REFRESH_AHEAD_MS = 5 * 60_000;
/** Longer than GitHub may take to answer another gateway. */
const LONGEST_WAIT_MS = 8000;
const LOOK_AGAIN_MS = 50;
/** Each holds a connection to the database while GitHub is asked. */
const MOST_AT_ONCE = 4;
/** After GitHub has failed it is left alone for so long. */
const REST_MS = 5000;
const WRITE_TRIES = 6;
const WRITE_AGAIN_MS = 500;

/**
 * The returned function throws a {@link GatewayError}: reauth-required when the account has nothing to refresh with, or
 * GitHub no longer takes it; github-unavailable; session-store-unavailable.
 */
export function tokenRefresher(options: TokenRefreshOptions): RefreshToken {
  const inTurn = oneAtATime();
  const flights = new Map<string, Promise<CurrentToken>>();
  // By the encrypted token that was to be replaced: whoever signs in again has another.
  const failed = new LRUCache<string, { error: GatewayError; until: number }>({ max: 10_000 });
  let turn = 0;
  return (account) => {
    const key = account.encryptedToken ?? '';
    const failure = failed.get(key);
    if (failure && failure.until > Date.now()) return Promise.reject(failure.error);
    const running = flights.get(account.id);
    if (running) return running;
    const flight = inTurn(String(turn++ % MOST_AT_ONCE), () => refresh(account, options))
      .catch((cause: unknown) => {
        const error =
          cause instanceof GatewayError ? cause : new GatewayError('session-store-unavailable', { cause });
        const isFinal = error.code === 'reauth-required';
        failed.set(key, { error, until: isFinal ? Number.POSITIVE_INFINITY : Date.now() + REST_MS });
        throw error;
      })
      .finally(() => flights.delete(account.id));
    flights.set(account.id, flight);
    return flight;
  };
}

async function refresh({ id }: GitHubAccount, options: TokenRefreshOptions): Promise<CurrentToken> {
  const { database } = options;
  const deadline = performance.now() + LONGEST_WAIT_MS;
  for (;;) {
    const current = await database.withLock(`github-token:${id}`, () => refreshLocked(id, options));
    if (current !== null) return current;
    // Another gateway is at it.
    if (performance.now() > deadline) throw new GatewayError('github-unavailable', { status: 503 });
    await sleep(LOOK_AGAIN_MS);
  }
}

async function refreshLocked(githubId: string, options: TokenRefreshOptions): Promise<CurrentToken> {
  const { database, cipher, client, onUserChanged } = options;
  const account = await readAccount(database, githubId);
  const won = await currentOf(account, cipher);
  if (won) return won;
  if (account?.refreshToken == null) throw new GatewayError('reauth-required');
  const grant = await client.refresh(await decrypt(cipher, account.refreshToken)).catch(async (error) => {
    if (!(error instanceof GatewayError) || error.code !== 'reauth-required') throw error;
    // Somebody who does not know of the lock may have been first.
    const other = await currentOf(await readAccount(database, githubId), cipher);
    if (other) return other;
    await forgetRefreshToken(database, account);
    throw error;
  });
  if (!('accessToken' in grant)) return grant;
  await writeUntilDone(() => writeGrant(database, cipher, account, grant));
  await onUserChanged(account.userId);
  return { token: grant.accessToken, expiresAt: grant.expiresAt };
}

type Account = Pick<
  AccountTable,
  'id' | 'userId' | 'accountId' | 'accessToken' | 'refreshToken' | 'accessTokenExpiresAt'
>;

function readAccount(database: Database, githubId: string): Promise<Account | undefined> {
  return database.kysely
    .selectFrom('account')
    .select(['id', 'userId', 'accountId', 'accessToken', 'refreshToken', 'accessTokenExpiresAt'])
    .where('providerId', '=', 'github')
    .where('accountId', '=', githubId)
    .orderBy('updatedAt', 'desc')
    .executeTakeFirst();
}

/** What is stored, if it will last. */
async function currentOf(account: Account | undefined, cipher: TokenCipher): Promise<CurrentToken | null> {
  if (account?.accessToken == null) return null;
  const expiresAt = millisOf(account.accessTokenExpiresAt);
  if (expiresAt !== null && expiresAt - Date.now() <= REFRESH_AHEAD_MS) return null;
  return { token: await decrypt(cipher, account.accessToken), expiresAt };
}

/** What nobody can open is as good as none. */
function decrypt(cipher: TokenCipher, stored: string): Promise<string> {
  return cipher.decrypt(stored).catch((cause: unknown) => {
    throw new GatewayError('reauth-required', { cause });
  });
}

/** GitHub will not take it again: nobody need ask. */
async function forgetRefreshToken(database: Database, { id, refreshToken }: Account): Promise<void> {
  await database.kysely
    .updateTable('account')
    .set({ refreshToken: null, refreshTokenExpiresAt: null })
    .where('id', '=', id)
    .where('refreshToken', '=', refreshToken)
    .execute();
}

async function writeGrant(
  database: Database,
  cipher: TokenCipher,
  account: Account,
  grant: Grant,
): Promise<void> {
  const date = (millis: number | null) => (millis === null ? null : database.date(millis));
  const accessToken = await cipher.encrypt(grant.accessToken);
  const refreshToken = grant.refreshToken === null ? null : await cipher.encrypt(grant.refreshToken);
  await database.kysely.transaction().execute(async (transaction) => {
    const updated = await transaction
      .updateTable('account')
      .set({
        accessToken,
        refreshToken,
        accessTokenExpiresAt: date(grant.expiresAt),
        refreshTokenExpiresAt: date(grant.refreshExpiresAt),
        updatedAt: database.date(Date.now()),
      })
      .where('id', '=', account.id)
      // Whoever has signed in meanwhile has brought a token of their own.
      .where('accessToken', '=', account.accessToken)
      .executeTakeFirst();
    if (updated.numUpdatedRows === 0n) return;
    await transaction
      .updateTable('gateway_github_profile')
      .set({ tokenExpiresAt: date(grant.expiresAt) })
      .where('githubId', '=', account.accountId)
      .execute();
  });
}

/** GitHub has ended the old pair: the new one is not given up at the first failure. */
async function writeUntilDone(write: () => Promise<void>): Promise<void> {
  for (let left = WRITE_TRIES; ; left--) {
    try {
      return await write();
    } catch (error) {
      if (left === 1) throw error;
      await sleep(WRITE_AGAIN_MS);
    }
  }
}
