// What must be forgotten when a session, its person or their account changes, whoever changed it.
import { sql } from 'kysely';
import type { Database } from '../database/database.ts';
import type { RevocationLog } from './revocation-log.ts';
import type { SharedTier } from './shared.ts';
import { tokenHash } from './token-hash.ts';

export interface Revocations {
  /** Before the row goes: a session that a ban ends is remembered as banned. */
  sessionEnding(session: { token: string; userId: string; expiresAt: Date }): Promise<void>;
  /** After the row has gone or changed. */
  sessionChanged(token: string): Promise<void>;
  /** After a person or their account has changed. */
  userChanged(userId: string): Promise<void>;
  /** What another writer did, as the triggers tell it; see database/triggers.ts. */
  heard(payload: string): void;
}

/** @param onError told when Redis could not be: its entries then live for up to a minute */
export function createRevocations(
  database: Database,
  log: RevocationLog,
  shared: SharedTier | null,
  onError: (error: unknown) => void,
): Revocations {
  // Memory first, at once; then Redis; then memory again, for what was read from Redis in between.
  const forgetSession = async (hash: string) => {
    log.note(hash);
    if (!shared) return;
    await shared.forget([hash]).catch(onError);
    log.note(hash);
  };
  const forgetUser = async (userId: string) => {
    log.note(userId);
    if (!shared) return;
    try {
      await shared.forget(await sessionHashes(database, userId));
    } catch (error) {
      shared.distrust();
      onError(error);
    }
    log.note(userId);
  };
  return {
    async sessionEnding({ token, userId, expiresAt }) {
      await rememberBanned(database, tokenHash(token), userId, database.date(expiresAt.getTime()));
    },
    sessionChanged: (token) => forgetSession(tokenHash(token)),
    userChanged: forgetUser,
    heard(payload) {
      const name = payload.slice(2);
      if (payload.startsWith('s:')) forgetSession(name).catch(onError);
      else if (payload.startsWith('u:')) forgetUser(name).catch(onError);
      else log.noteAll();
    },
  };
}

async function sessionHashes(database: Database, userId: string): Promise<string[]> {
  const sessions = await database.kysely
    .selectFrom('session')
    .select('token')
    // Sessions in which they act as somebody else are theirs, too.
    .where((where) => where.or([where('userId', '=', userId), where('impersonatedBy', '=', userId)]))
    .execute();
  return sessions.map((session) => tokenHash(session.token));
}

/** One statement: the row appears only while its user is banned. What has run out is swept on the way. */
async function rememberBanned(
  database: Database,
  hash: string,
  userId: string,
  until: unknown,
): Promise<void> {
  const isTrue = database.kind === 'sqlite' ? sql`1` : sql`true`;
  const date = database.kind === 'sqlite' ? sql`${until}` : sql`cast(${until} as timestamptz)`;
  const inserted = await sql`
    insert into "gateway_ended_session" ("tokenHash", "userId", "until")
    select ${hash}, "id", ${date} from "user" where "id" = ${userId} and "banned" = ${isTrue}
    on conflict ("tokenHash") do nothing`.execute(database.kysely);
  if ((inserted.numAffectedRows ?? 0n) === 0n) return;
  await database.kysely
    .deleteFrom('gateway_ended_session')
    .where('until', '<', database.date(Date.now()))
    .execute();
}
