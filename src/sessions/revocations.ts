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
  /** Nothing that is known here or in Redis counts any more. */
  everythingChanged(): void;
  /** Changes may have been missed: Redis counts no more, memory only where the store cannot be asked. */
  changesMissed(): void;
}

/** People whose sessions are looked up in one question; more at once, and everything is forgotten instead. */
const MOST_PEOPLE = 1000;

/**
 * Memory first, at once; then Redis; until that is done nothing that is read of them is believed.
 *
 * @param onRedisError told when Redis could not be: what it holds is then distrusted as a whole
 */
export function createRevocations(
  database: Database,
  log: RevocationLog,
  shared: SharedTier | null,
  onRedisError: (error: unknown) => void,
): Revocations {
  const everythingChanged = () => {
    log.noteAll();
    shared?.distrust();
  };
  const during = async (keys: readonly string[], work: () => Promise<void>) => {
    for (const key of keys) log.begin(key);
    try {
      await work();
    } finally {
      for (const key of keys) log.end(key);
    }
  };
  // Until the change is there, nothing that is read is believed; only then is it time to forget.
  const onceStored = async (key: string, work: () => Promise<void>) => {
    log.begin(key);
    await database.afterTransaction(() => work().finally(() => log.end(key)));
  };
  const forget = async (hashes: string[]) => {
    if (shared) await during(hashes, () => shared.forget(hashes).catch(onRedisError));
    else for (const hash of hashes) log.note(hash);
  };
  const forgetPeople = async (userIds: string[]) => {
    if (!shared) for (const userId of userIds) log.note(userId);
    else
      await during(userIds, async () => {
        const hashes = await sessionHashes(database, userIds).catch((error: unknown) => {
          shared.distrust();
          throw error;
        });
        await forget(hashes);
      });
  };
  const hearPerson = collector(log, forgetPeople, everythingChanged);
  return {
    async sessionEnding({ token, userId, expiresAt }) {
      await rememberBanned(database, tokenHash(token), userId, database.date(expiresAt.getTime()));
    },
    async sessionChanged(token) {
      const hash = tokenHash(token);
      await onceStored(hash, () => forget([hash]));
    },
    userChanged: (userId) => onceStored(userId, () => forgetPeople([userId])),
    heard(payload) {
      const name = payload.slice(2);
      if (payload.startsWith('s:')) void forget([name]);
      else if (!payload.startsWith('u:')) everythingChanged();
      else hearPerson(name);
    },
    everythingChanged,
    changesMissed() {
      log.noteGap();
      shared?.distrust();
    },
  };
}

/** Gathers people while a question is under way, so that a change of thousands is a few questions. */
function collector(
  log: RevocationLog,
  forgetPeople: (userIds: string[]) => Promise<void>,
  everythingChanged: () => void,
): (userId: string) => void {
  const waiting = new Set<string>();
  let running = false;
  const run = async () => {
    running = true;
    while (waiting.size > 0) {
      const batch = [...waiting];
      waiting.clear();
      if (batch.length > MOST_PEOPLE) everythingChanged();
      else await forgetPeople(batch).catch(() => {});
      for (const userId of batch) log.end(userId);
    }
    running = false;
  };
  return (userId) => {
    if (waiting.has(userId)) return;
    log.begin(userId);
    waiting.add(userId);
    if (!running) void run();
  };
}

async function sessionHashes(database: Database, userIds: string[]): Promise<string[]> {
  const sessions = await database.kysely
    .selectFrom('session')
    .select('token')
    // Sessions in which they act as somebody else are theirs, too.
    .where((where) => where.or([where('userId', 'in', userIds), where('impersonatedBy', 'in', userIds)]))
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
