// The truth about a session: one query to the store.
import { type RawBuilder, sql } from 'kysely';
import { type Database, millisOf } from '../database/database.ts';
import { isRefused, namesOf } from '../database/github-checks.ts';
import type { StoredBoolean, StoredDate } from '../database/tables.ts';
import { type Ban, type GitHubAccount, isBanned, type Session } from '../policy/session.ts';
import { type AskAll, batched } from './batching.ts';
import { tokenHash } from './token-hash.ts';

/** What the store says about a session token. It throws when it cannot be asked. */
export type StoreAnswer =
  | { readonly found: 'session'; readonly session: Session }
  | { readonly found: 'ended'; readonly ban: Ban }
  | { readonly found: 'nothing' };

export type ReadSession = (token: string) => Promise<StoreAnswer>;

/** Answers in the order of the tokens, which are such as a signature was right for. */
export type ReadSessions = AskAll<string, StoreAnswer>;

interface Row {
  sessionId: string | null;
  expiresAt: StoredDate | null;
  impersonatedBy: string | null;
  impersonatorRole: string | null;
  impersonatorBanned: StoredBoolean | null;
  impersonatorBanExpires: StoredDate | null;
  endedUntil: StoredDate | null;
  userId: string | null;
  email: string | null;
  name: string | null;
  role: string | null;
  banned: StoredBoolean | null;
  banReason: string | null;
  banExpires: StoredDate | null;
  githubId: string | null;
  accessToken: string | null;
  accessTokenExpiresAt: StoredDate | null;
  scope: string | null;
  login: string | null;
  scopesKnown: number | null;
  refusedToken: string | null;
  memberships: string | null;
  membershipsAsked: string | null;
  checkedAt: StoredDate | null;
}

/** Sessions in one query. Few: they are looked for one after the other, and without an index each takes its time. */
const MOST_AT_ONCE = 8;

/**
 * Session, user, GitHub account and profile, or the ban that ended the session: of up to {@link MOST_AT_ONCE} tokens in one
 * query of Postgres, of each by itself in the embedded file. Joins no transaction.
 */
export function storeReader(database: Database): ReadSessions {
  return database.kind === 'postgres' ? postgresReader(database) : sqliteReader(database);
}

/** Asks for one session, in one query with others that are asked for in the same turn. */
export function together(readSessions: ReadSessions): ReadSession {
  return batched(readSessions, MOST_AT_ONCE);
}

function sqliteReader(database: Database): ReadSessions {
  const ask = database.prepare(question(sql`${''}`, sql`${''}`).compile(database.kysely).sql);
  return (tokens) =>
    Promise.all(
      tokens.map(async (token) => {
        const [row] = await ask([token, tokenHash(token)]);
        return answerOf(row as Row | undefined);
      }),
    );
}

/** Always the same number of places, some of them empty: Postgres has one plan for all, and knows what it costs. */
function postgresReader(database: Database): ReadSessions {
  const places = Array.from({ length: MOST_AT_ONCE }, (_, at) => sql`(${sql.lit(at)}, ${''}, ${''})`);
  const each = question(sql.ref('c.token'), sql.ref('c.tokenHash'));
  const ask = database.prepare(
    sql`select c."at", found.* from (values ${sql.join(places)}) as c("at", "token", "tokenHash")
      cross join lateral (${each}) as found`.compile(database.kysely).sql,
  );
  return async (tokens) => {
    const values = new Array<string | null>(2 * MOST_AT_ONCE).fill(null);
    tokens.forEach((token, at) => {
      values.splice(2 * at, 2, token, tokenHash(token));
    });
    const rows = (await ask(values)) as (Row & { at: number })[];
    const found = new Map(rows.map((row) => [row.at, row]));
    return tokens.map((_token, at) => answerOf(found.get(at)));
  };
}

function question(token: RawBuilder<unknown>, hash: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`
  select s."id" as "sessionId", s."expiresAt", s."impersonatedBy", e."until" as "endedUntil",
    i."role" as "impersonatorRole", i."banned" as "impersonatorBanned", i."banExpires" as "impersonatorBanExpires",
    u."id" as "userId", u."email", u."name", u."role", u."banned", u."banReason", u."banExpires",
    a."accountId" as "githubId", a."accessToken", a."accessTokenExpiresAt", a."scope",
    p."login", p."scopesKnown",
    k."refusedToken", k."memberships", k."membershipsAsked", k."checkedAt"
  from (select 1 as "one") as o
  left join "session" as s on s."token" = ${token}
  left join "gateway_ended_session" as e on e."tokenHash" = ${hash}
  join "user" as u on u."id" = coalesce(s."userId", e."userId")
  left join "user" as i on i."id" = s."impersonatedBy"
  left join "account" as a on a."userId" = u."id" and a."providerId" = 'github'
  left join "gateway_github_profile" as p on p."userId" = u."id"
  left join "gateway_github_check" as k on k."userId" = u."id"
  order by a."updatedAt" desc
  limit 1`;
}

function answerOf(row: Row | undefined): StoreAnswer {
  if (row === undefined) return { found: 'nothing' };
  if (row.impersonatedBy !== null && !mayImpersonate(row)) return { found: 'nothing' };
  if (row.sessionId !== null && row.expiresAt !== null && row.userId !== null)
    return { found: 'session', session: sessionOf(row, row.sessionId, row.userId, row.expiresAt) };
  const ban = banOf(row);
  if (ban && row.endedUntil !== null && millisOf(row.endedUntil) > Date.now()) return { found: 'ended', ban };
  return { found: 'nothing' };
}

/** Who acts as somebody else does so for as long as they are an administrator themselves. */
function mayImpersonate({ impersonatorRole, impersonatorBanned, impersonatorBanExpires }: Row): boolean {
  const ban: Ban | null = impersonatorBanned
    ? { reason: null, expiresAt: millisOf(impersonatorBanExpires) }
    : null;
  return (impersonatorRole ?? '').split(',').includes('admin') && !isBanned(ban, Date.now());
}

function sessionOf(row: Row, id: string, userId: string, expiresAt: StoredDate): Session {
  return {
    id,
    userId,
    expiresAt: millisOf(expiresAt),
    impersonatedBy: row.impersonatedBy,
    email: row.email ?? '',
    name: row.name ?? '',
    role: row.role ?? 'user',
    ban: banOf(row),
    github: row.githubId === null ? null : accountOf(row, row.githubId),
  };
}

function accountOf(row: Row, id: string): GitHubAccount {
  return {
    id,
    login: row.login,
    encryptedToken: row.accessToken,
    tokenExpiresAt: millisOf(row.accessTokenExpiresAt),
    scopes: row.scopesKnown === 0 ? null : scopesOf(row.scope),
    ...(isRefused(row.accessToken, row.refusedToken) && { tokenRefused: true }),
    ...(row.membershipsAsked !== null &&
      row.checkedAt !== null && {
        memberships: {
          of: namesOf(row.memberships),
          asked: namesOf(row.membershipsAsked),
          at: millisOf(row.checkedAt),
        },
      }),
  };
}

/** Written with commas by us and GitHub, with commas or spaces by older applications. */
function scopesOf(scope: string | null): string[] {
  return (scope ?? '').split(/[\s,]+/).filter((each) => each !== '');
}

function banOf(row: Row): Ban | null {
  return row.banned ? { reason: row.banReason, expiresAt: millisOf(row.banExpires) } : null;
}
