// Re-encrypts every stored GitHub token with the current key, while gateways go on reading and writing them.
import type { Database } from '../database/database.ts';
import type { TokenCipher } from './token-cipher.ts';

export interface Rotation {
  /** Accounts looked at so far, and in all. */
  readonly done: number;
  readonly total: number;
  /** Accounts written anew. */
  readonly rotated: number;
  /** Accounts with a token that no known key opens; left as they are. */
  readonly unreadable: number;
}

interface Tokens {
  readonly id: string;
  readonly accessToken: string | null;
  readonly refreshToken: string | null;
}

const BATCH = 500;
const MOST_AT_ONCE = 8;

/**
 * Can be ended at any moment and run again: what is done is not done twice.
 *
 * @param onProgress told after each batch
 */
export async function rotateKeys(
  database: Database,
  cipher: TokenCipher,
  onProgress: (rotation: Rotation) => void,
): Promise<Rotation> {
  const counts = { done: 0, total: await countAccounts(database), rotated: 0, unreadable: 0 };
  for (let after = ''; ; ) {
    const accounts = await nextAccounts(database, after);
    const last = accounts.at(-1);
    if (!last) return counts;
    const waiting = accounts.filter((account) => !isCurrent(account, cipher));
    const work = async () => {
      for (let account = waiting.pop(); account; account = waiting.pop())
        counts[await rotate(database, cipher, account)]++;
    };
    await Promise.all(Array.from({ length: MOST_AT_ONCE }, work));
    after = last.id;
    counts.done += accounts.length;
    onProgress({ ...counts });
  }
}

async function countAccounts({ kysely }: Database): Promise<number> {
  const { count } = await kysely
    .selectFrom('account')
    .where('providerId', '=', 'github')
    .select((select) => select.fn.countAll().as('count'))
    .executeTakeFirstOrThrow();
  return Number(count);
}

function nextAccounts({ kysely }: Database, after: string): Promise<Tokens[]> {
  return kysely
    .selectFrom('account')
    .select(['id', 'accessToken', 'refreshToken'])
    .where('providerId', '=', 'github')
    .where('id', '>', after)
    .orderBy('id')
    .limit(BATCH)
    .execute();
}

function isCurrent({ accessToken, refreshToken }: Tokens, cipher: TokenCipher): boolean {
  return [accessToken, refreshToken].every((stored) => stored === null || cipher.isCurrent(stored));
}

async function rotate(
  { kysely }: Database,
  cipher: TokenCipher,
  { id, accessToken, refreshToken }: Tokens,
): Promise<'rotated' | 'unreadable'> {
  const anew = async (stored: string | null) =>
    stored === null ? null : cipher.encrypt(await cipher.decrypt(stored));
  const tokens = await Promise.all([anew(accessToken), anew(refreshToken)]).catch(() => null);
  if (tokens === null) return 'unreadable';
  await kysely
    .updateTable('account')
    .set({ accessToken: tokens[0], refreshToken: tokens[1] })
    .where('id', '=', id)
    // Whoever has signed in meanwhile has brought tokens of their own, under the current key.
    .where('accessToken', 'is not distinct from', accessToken)
    .where('refreshToken', 'is not distinct from', refreshToken)
    .execute();
  return 'rotated';
}
