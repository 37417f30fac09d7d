// Whoever signs out everywhere may want the gateway's right to act for them at GitHub to end as well.
import type { Database } from '../database/database.ts';
import type { GitHubClient } from './github.ts';
import type { TokenCipher } from './token-cipher.ts';

export interface TokenDeletionOptions {
  readonly database: Database;
  readonly cipher: Pick<TokenCipher, 'decrypt'>;
  readonly client: Pick<GitHubClient, 'deleteToken'>;
  /** Told after the account of a person has changed. */
  readonly onUserChanged: (userId: string) => Promise<void>;
  /** Told that a token that is kept nowhere any longer may live on at GitHub. */
  readonly onLeftBehind: (userId: string, error: unknown) => void;
}

/**
 * Forgets the person's token here, and deletes it at GitHub if GitHub gave it to us: personal access tokens are their
 * owner's to delete.
 * Never throws: the sessions have ended, whatever comes of this.
 */
export function tokenDeleter(options: TokenDeletionOptions): (userId: string) => Promise<void> {
  return (userId) =>
    deleteToken(userId, options).catch((error: unknown) => options.onLeftBehind(userId, error));
}

async function deleteToken(userId: string, options: TokenDeletionOptions): Promise<void> {
  const { database, onUserChanged } = options;
  const account = await database.kysely
    .selectFrom('account')
    .leftJoin('gateway_github_profile as profile', 'profile.userId', 'account.userId')
    .where('account.providerId', '=', 'github')
    .where('account.userId', '=', userId)
    .select(['account.id', 'account.accessToken', 'profile.tokenKind'])
    .executeTakeFirst();
  const isPersonal = account?.tokenKind === 'classic' || account?.tokenKind === 'fine-grained';
  if (!account?.accessToken || isPersonal) return;
  await database.kysely
    .updateTable('account')
    .set({ accessToken: null, refreshToken: null, accessTokenExpiresAt: null, refreshTokenExpiresAt: null })
    .where('id', '=', account.id)
    .where('accessToken', '=', account.accessToken)
    .execute();
  await onUserChanged(userId);
  // Nobody waits for GitHub to sign out.
  void deleteAtGitHub(userId, account.accessToken, options);
}

const TRIES = 3;
const TRY_AGAIN_MS = 5000;

async function deleteAtGitHub(
  userId: string,
  encrypted: string,
  { cipher, client, onLeftBehind }: TokenDeletionOptions,
): Promise<void> {
  const token = await cipher.decrypt(encrypted).catch(() => null);
  if (token === null) return;
  for (let left = TRIES; left > 0; left--) {
    try {
      return await client.deleteToken(token);
    } catch (error) {
      if (left === 1) onLeftBehind(userId, error);
      else await new Promise((resolve) => void setTimeout(resolve, TRY_AGAIN_MS).unref());
    }
  }
}
