// A person has withdrawn at GitHub what they allowed this gateway: they are signed out of it.
import { type Database, millisOf } from '../database/database.ts';
import type { ChangeHooks } from './better-auth.ts';

/** @returns how many sessions it ended; throws when the store fails, and then none was */
export type EndAuthorization = (githubId: string) => Promise<number>;

export function authorizationEnder(database: Database, changes: ChangeHooks): EndAuthorization {
  return (githubId) =>
    database.inTransaction(async () => {
      const { kysely } = database;
      const people = await kysely
        .selectFrom('account')
        .where('providerId', '=', 'github')
        .where('accountId', '=', githubId)
        .select('userId')
        .execute();
      let ended = 0;
      for (const { userId } of people) {
        ended += await endSessions(database, changes, userId);
        await forgetToken(database, userId);
        await changes.userChanged(userId);
      }
      return ended;
    });
}

/** The one GitHub gave to us: it has just ended. A personal access token is not concerned. */
async function forgetToken({ kysely }: Database, userId: string): Promise<void> {
  const profile = await kysely
    .selectFrom('gateway_github_profile')
    .where('userId', '=', userId)
    .select('tokenKind')
    .executeTakeFirst();
  if (profile?.tokenKind === 'classic' || profile?.tokenKind === 'fine-grained') return;
  await kysely
    .updateTable('account')
    .set({ accessToken: null, refreshToken: null, accessTokenExpiresAt: null, refreshTokenExpiresAt: null })
    .where('providerId', '=', 'github')
    .where('userId', '=', userId)
    .execute();
}

/** Their own, and those in which they act as somebody else. */
async function endSessions(database: Database, changes: ChangeHooks, person: string): Promise<number> {
  const sessions = await database.kysely
    .selectFrom('session')
    .where((where) => where.or([where('userId', '=', person), where('impersonatedBy', '=', person)]))
    .select(['token', 'userId', 'expiresAt'])
    .execute();
  for (const { token, userId, expiresAt } of sessions) {
    await changes.sessionEnding({ token, userId, expiresAt: new Date(millisOf(expiresAt)) });
    await database.kysely.deleteFrom('session').where('token', '=', token).execute();
    await changes.sessionChanged(token);
  }
  return sessions.length;
}
