// What is kept of what GitHub says of a person, beside Better Auth's tables.
import type { Kysely } from 'kysely';
import type { Database } from '../database/database.ts';
import type { Tables, TokenKind } from '../database/tables.ts';
import { type AdmissionRules, askedFor } from '../policy/admission.ts';
import type { Grant, TokenOwner } from './github.ts';

export interface Profile {
  readonly githubId: string;
  readonly login: string;
  readonly tokenKind: TokenKind;
  /** Epoch milliseconds. */
  readonly tokenExpiresAt: number | null;
  readonly scopesKnown: boolean;
}

export async function writeProfile(
  database: Database,
  transaction: Kysely<Tables>,
  userId: string,
  { tokenExpiresAt, scopesKnown, ...seen }: Profile,
): Promise<void> {
  const profile = {
    ...seen,
    tokenExpiresAt: tokenExpiresAt === null ? null : database.date(tokenExpiresAt),
    scopesKnown: scopesKnown ? 1 : 0,
    updatedAt: database.date(Date.now()),
  };
  // An application may have moved the account to another user; the profile follows the account.
  await transaction
    .deleteFrom('gateway_github_profile')
    .where('githubId', '=', seen.githubId)
    .where('userId', '!=', userId)
    .execute();
  await transaction
    .insertInto('gateway_github_profile')
    .values({ userId, ...profile })
    .onConflict((conflict) => conflict.column('userId').doUpdateSet(profile))
    .execute();
}

/** What the token itself reports beats what the grant listed. */
export function scopesOf(
  { tokenKind, scopes }: Pick<TokenOwner, 'tokenKind' | 'scopes'>,
  granted: Pick<Grant, 'scopes'>,
): readonly string[] | null {
  if (tokenKind === 'fine-grained' || tokenKind === 'app') return null;
  return scopes ?? granted.scopes;
}

/** As they are kept: only what the lists ask for. */
export function membershipColumns(memberships: readonly string[] | null, rules: AdmissionRules) {
  if (memberships === null) return { memberships: null, membershipsAsked: null };
  const asked = askedFor(rules);
  return {
    memberships: asked.filter((name) => memberships.includes(name)).join(' '),
    membershipsAsked: asked.join(' '),
  };
}
