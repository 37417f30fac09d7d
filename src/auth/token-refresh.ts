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
import { restAfterOutage } from './rest.ts';
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
  readonly client: Pick<GitHubClient, 'refresh' | 'readOwner'>;
  /** Told after the account of a person has changed. */
  readonly onUserChanged: (userId: string) => Promise<void>;
  readonly onRefresh?: (result: RefreshResult) => void;
}

/**
 * `refreshed`: GitHub gave a new token. `taken`: somebody else had put one there. `refused`: the person must sign in
 * again. `failed`: GitHub or the store did not answer.
 */
export const REFRESH_RESULTS = ['refreshed', 'taken', 'refused', 'failed'] as const;
export type RefreshResult = (typeof REFRESH_RESULTS)[number];

/** Nothing can take the token's place, but it is good for as long as it lives. */
export class TokenKept extends GatewayError {
  constructor(cause?: unknown) {
    super('reauth-required', { cause });
  }
}

/** From so long before its end a token is replaced, beside the requests that use it. */
export const REFRESH_AHEAD_MS = 15 * 60_000;
/** With less than this left, requests wait for the new one. */
export const LAST_MOMENT_MS = 5 * 60_000;
/** Longer than GitHub may take to answer another gateway. */
const LONGEST_WAIT_MS = 8000;
const LOOK_AGAIN_MS = 50;
/** Each holds a connection to the database while GitHub is asked. */
const MOST_AT_ONCE = 4;
/** After GitHub has failed it is left alone for so long. */
const REST_MS = 2000;
/** Whoever was faster at GitHub needs a moment to write. */
const SECOND_LOOK_MS = 500;
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
  const orRest = restAfterOutage();
  const { onRefresh = () => {} } = options;
  let turn = 0;
  return (account) => {
    const key = account.encryptedToken ?? '';
    const failure = failed.get(key);
    if (failure && failure.until > Date.now()) return Promise.reject(failure.error);
    const running = flights.get(account.id);
    if (running) return running;
    const flight = inTurn(String(turn++ % MOST_AT_ONCE), () => orRest(() => refresh(account, options)))
      .then(({ result, token, expiresAt }) => {
        onRefresh(result);
        return { token, expiresAt };
      })
      .catch((cause: unknown) => {
        const error =
          cause instanceof GatewayError ? cause : new GatewayError('session-store-unavailable', { cause });
        const isFinal = error.code === 'reauth-required';
        onRefresh(isFinal ? 'refused' : 'failed');
        failed.set(key, { error, until: isFinal ? Number.POSITIVE_INFINITY : Date.now() + REST_MS });
        throw error;
      })
      .finally(() => flights.delete(account.id));
    flights.set(account.id, flight);
    return flight;
  };
}

interface Refreshed extends CurrentToken {
  readonly result: 'refreshed' | 'taken';
}

async function refresh(asked: GitHubAccount, options: TokenRefreshOptions): Promise<Refreshed> {
  const { database } = options;
  const deadline = performance.now() + LONGEST_WAIT_MS;
  let mayFail = true;
  for (;;) {
    try {
      const current = await database.withLock(`github-token:${asked.id}`, () =>
        refreshLocked(asked, options),
      );
      if (current !== null) return current;
    } catch (error) {
      // A store that was slow once must not fail everybody who waits for this. What is stored by now is read again.
      if (error instanceof GatewayError || !mayFail) throw error;
      mayFail = false;
    }
    // Another gateway is at it, or the store was.
    if (performance.now() > deadline) throw new GatewayError('github-unavailable', { status: 503 });
    await sleep(LOOK_AGAIN_MS);
  }
}

async function refreshLocked(
  { id: githubId, encryptedToken }: GitHubAccount,
  options: TokenRefreshOptions,
): Promise<Refreshed> {
  const { database, cipher, client, onUserChanged } = options;
  const account = await readAccount(database, githubId);
  const won = await currentOf(account, encryptedToken, cipher);
  if (won) return { ...won, result: 'taken' };
  if (account?.refreshToken == null) throw new TokenKept();
  const refreshToken = await decrypt(cipher, account.refreshToken);
  try {
    const grant = await client.refresh(refreshToken);
    await writeUntilDone(() => writeGrant(options, account, refreshToken, grant));
    await onUserChanged(account.userId);
    return { token: grant.accessToken, expiresAt: grant.expiresAt, result: 'refreshed' };
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code !== 'reauth-required') throw error;
    // Somebody who does not know of the lock may have been first.
    await sleep(SECOND_LOOK_MS);
    const other = await currentOf(await readAccount(database, githubId), account.accessToken, cipher);
    if (other) return { ...other, result: 'taken' };
    throw (await forgetTokens(options, account)) ? error : new TokenKept(error.cause);
  }
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

/** What is stored, if it will last, or has taken the place of what was known. */
async function currentOf(
  account: Account | undefined,
  known: string | null,
  cipher: TokenCipher,
): Promise<CurrentToken | null> {
  if (account?.accessToken == null) return null;
  const expiresAt = millisOf(account.accessTokenExpiresAt);
  const left = (expiresAt ?? Number.POSITIVE_INFINITY) - Date.now();
  if (left <= (account.accessToken === known ? REFRESH_AHEAD_MS : 0)) return null;
  return { token: await decrypt(cipher, account.accessToken), expiresAt };
}

/** What nobody can open is as good as none. */
function decrypt(cipher: TokenCipher, stored: string): Promise<string> {
  return cipher.decrypt(stored).catch((cause: unknown) => {
    throw new GatewayError('reauth-required', { cause });
  });
}

/**
 * GitHub will not take the refresh token again: nobody need ask. It has mostly ended the access token with it, whatever
 * was said about its end.
 *
 * @returns whether that is gone, too
 */
async function forgetTokens(
  { database, client, cipher, onUserChanged }: TokenRefreshOptions,
  account: Account,
): Promise<boolean> {
  const isDead = await cipher.decrypt(account.accessToken ?? '').then(
    (token) => client.readOwner(token).then(() => false, isInvalidToken),
    () => true,
  );
  await database.kysely
    .updateTable('account')
    .set({ refreshToken: null, refreshTokenExpiresAt: null, ...(isDead && { accessToken: null }) })
    .where('id', '=', account.id)
    .where('refreshToken', '=', account.refreshToken)
    .execute();
  await onUserChanged(account.userId);
  return isDead;
}

function isInvalidToken(error: unknown): boolean {
  return error instanceof GatewayError && error.code === 'github-token-invalid';
}

async function writeGrant(
  { database, cipher }: TokenRefreshOptions,
  account: Account,
  usedRefreshToken: string,
  grant: Grant,
): Promise<void> {
  const date = (millis: number | null) => (millis === null ? null : database.date(millis));
  const columns = {
    accessToken: await cipher.encrypt(grant.accessToken),
    refreshToken: grant.refreshToken === null ? null : await cipher.encrypt(grant.refreshToken),
    accessTokenExpiresAt: date(grant.expiresAt),
    refreshTokenExpiresAt: date(grant.refreshExpiresAt),
    updatedAt: database.date(Date.now()),
  };
  for (let stored: Account | undefined = account; stored; ) {
    if (await replaceTokens(database, stored, columns)) return;
    // Whoever has signed in meanwhile has brought tokens of their own. The same ones in other words are ours to replace:
    // rotate-keys writes them anew.
    stored = await readAccount(database, account.accountId);
    const token = await cipher.decrypt(stored?.refreshToken ?? '').catch(() => null);
    if (token !== usedRefreshToken) return;
  }
}

/** @returns false when other tokens are stored by now */
function replaceTokens(
  database: Database,
  { id, accountId, refreshToken }: Account,
  columns: Partial<AccountTable>,
): Promise<boolean> {
  return database.kysely.transaction().execute(async (transaction) => {
    const updated = await transaction
      .updateTable('account')
      .set(columns)
      .where('id', '=', id)
      .where('refreshToken', '=', refreshToken)
      .executeTakeFirst();
    if (updated.numUpdatedRows === 0n) return false;
    await transaction
      .updateTable('gateway_github_profile')
      .set({ tokenExpiresAt: columns.accessTokenExpiresAt ?? null })
      .where('githubId', '=', accountId)
      .execute();
    return true;
  });
}

/** GitHub has ended the old pair: the new one is not given up at the first failure. */
async function writeUntilDone(write: () => Promise<void>): Promise<void> {
  for (let left = WRITE_TRIES; ; left--) {
    try {
      return await write();
    } catch (error) {
      // What is lost is not asked for again.
      if (left === 1) throw new GatewayError('session-store-unavailable', { cause: error });
      await sleep(WRITE_AGAIN_MS);
    }
  }
}
