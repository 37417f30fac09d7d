// What GitHub said about people when it was last asked, as it is kept in gateway_github_check.
import { createHash } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Database } from './database.ts';
import type { GitHubCheckTable, Tables } from './tables.ts';

/** Names a stored token without holding it: when another takes its place, what was said of this one is over. */
export function nameOfToken(encrypted: string): string {
  return createHash('sha256').update(encrypted).digest('base64url');
}

export function isRefused(encrypted: string | null, refusedToken: string | null): boolean {
  return refusedToken !== null && encrypted !== null && nameOfToken(encrypted) === refusedToken;
}

/** Names hold no spaces. */
export function namesOf(list: string | null): string[] {
  return (list ?? '').split(' ').filter((name) => name !== '');
}

export type CheckColumns = Pick<GitHubCheckTable, 'refusedToken' | 'memberships' | 'membershipsAsked'>;

/**
 * Keeps what GitHub says now. A gateway that holds the same already is told nothing.
 *
 * @returns whether anything is different from what was known
 */
export async function writeCheck(
  database: Database,
  transaction: Kysely<Tables>,
  userId: string,
  columns: CheckColumns,
): Promise<boolean> {
  const checkedAt = database.date(Date.now());
  const known = await transaction
    .selectFrom('gateway_github_check')
    .selectAll()
    .where('userId', '=', userId)
    .executeTakeFirst();
  if (known && isSame(known, columns)) {
    await transaction
      .updateTable('gateway_github_check')
      .set({ checkedAt })
      .where('userId', '=', userId)
      .execute();
    return false;
  }
  await transaction
    .insertInto('gateway_github_check')
    .values({ userId, ...columns, checkedAt })
    .onConflict((conflict) => conflict.column('userId').doUpdateSet({ ...columns, checkedAt }))
    .execute();
  return true;
}

function isSame(known: GitHubCheckTable, columns: CheckColumns): boolean {
  return (
    known.refusedToken === columns.refusedToken &&
    known.memberships === columns.memberships &&
    known.membershipsAsked === columns.membershipsAsked
  );
}
