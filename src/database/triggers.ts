// Postgres tells every gateway what changed, whoever changed it: triggers NOTIFY session and person. Their payloads
// are hashes and ids, of no use to who else listens.
import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import type { Database } from './database.ts';

/** What gateways LISTEN on. Payloads: `s:<SHA-256 of the session token, hex>`, `u:<user id>`, `*` for everything. */
export const CHANNEL = 'gateway_session';

const NAMES = [
  'gateway_session_changed',
  'gateway_user_changed',
  'gateway_account_changed',
  'gateway_truncated',
];
const COUNT = 7;

/** Are all triggers there, and none switched off? A database one may not alter is migrated without them. */
export const TRIGGERS_COMPLETE = `
  select count(*) = ${COUNT} as "complete" from pg_trigger as t join pg_class as c on c.oid = t.tgrelid
  where t.tgname in (${NAMES.map((name) => `'${name}'`).join(', ')}) and t.tgenabled <> 'D'
    and c.relnamespace = current_schema()::regnamespace`;

/**
 * What installs or renews the triggers; nothing when they are there, and on SQLite, whose one process knows its own writes.
 */
export async function triggerStatements(database: Database): Promise<string[]> {
  if (database.kind === 'sqlite') return [];
  const { rows } = await sql<{ schema: string; note: string | null }>`
    select quote_ident(current_schema()) as "schema", (
      select obj_description(p.oid, 'pg_proc') from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
      where p.proname = 'gateway_truncated' and n.nspname = current_schema()
    ) as "note"`.execute(database.kysely);
  const wanted = statements(rows[0]?.schema ?? 'public');
  const note = `better-hub-gateway ${createHash('sha256').update(wanted.join()).digest('hex').slice(0, 16)}`;
  const found = await sql<{ complete: boolean }>`${sql.raw(TRIGGERS_COMPLETE)}`.execute(database.kysely);
  if (found.rows[0]?.complete && rows[0]?.note === note) return [];
  return [...wanted, `comment on function gateway_truncated() is '${note}'`];
}

const HASH = `encode(sha256(convert_to(old."token", 'UTF8')), 'hex')`;

function statements(schema: string): string[] {
  // They run with the rights of whoever made them: an application's own role need not know our tables to delete a
  // session. The path is fixed, with temporary tables last, so that nobody's look-alikes are run with those rights.
  // Dates without a time zone are UTC, wherever the writer is.
  const asOwner = `returns trigger language plpgsql security definer
    set search_path = pg_catalog, ${schema}, pg_temp set timezone = 'UTC'`;
  return [
    // A session deleted while its user is banned was ended by the ban: its cookie is answered so while the ban lasts.
    `create or replace function gateway_session_changed() ${asOwner} as $$
     begin
       if tg_op = 'DELETE' then
         insert into ${schema}."gateway_ended_session" ("tokenHash", "userId", "until")
           select ${HASH}, u."id", old."expiresAt" from ${schema}."user" as u where u."id" = old."userId" and u."banned"
           on conflict ("tokenHash") do nothing;
       end if;
       perform pg_notify('${CHANNEL}', 's:' || ${HASH});
       return null;
     end $$`,
    `create or replace function gateway_user_changed() ${asOwner} as $$
     begin
       perform pg_notify('${CHANNEL}', 'u:' || old."id");
       return null;
     end $$`,
    `create or replace function gateway_account_changed() ${asOwner} as $$
     begin
       if tg_op <> 'INSERT' then perform pg_notify('${CHANNEL}', 'u:' || old."userId"); end if;
       if tg_op <> 'DELETE' then perform pg_notify('${CHANNEL}', 'u:' || new."userId"); end if;
       return null;
     end $$`,
    `create or replace function gateway_truncated() ${asOwner} as $$
     begin
       perform pg_notify('${CHANNEL}', '*');
       return null;
     end $$`,
    // Only what a lookup reads: an application that stamps lastActiveAt on every request changes nothing for us.
    ...trigger('gateway_session', 'session', changes('token', 'userId', 'expiresAt', 'impersonatedBy')),
    ...trigger('gateway_user', 'user', changes('email', 'name', 'role', 'banned', 'banReason', 'banExpires')),
    ...trigger('gateway_account', 'account', `insert or ${changes(...ACCOUNT_COLUMNS)}`),
    ...trigger('gateway_account', 'gateway_github_profile', `insert or ${changes('login', 'scopesKnown')}`),
    // Not when it was merely asked again.
    ...trigger('gateway_account', 'gateway_github_check', `insert or ${changes(...CHECK_COLUMNS)}`),
    ...truncateTrigger('session'),
    ...truncateTrigger('user'),
  ];
}

const ACCOUNT_COLUMNS = [
  'userId',
  'providerId',
  'accountId',
  'accessToken',
  'accessTokenExpiresAt',
  'scope',
  'updatedAt',
];

const CHECK_COLUMNS = ['refusedToken', 'memberships', 'membershipsAsked'];

function changes(...columns: string[]): string {
  return `update of ${columns.map((column) => `"${column}"`).join(', ')} or delete`;
}

function trigger(name: string, table: string, events: string): string[] {
  // Replaced and not dropped: whoever reads the table need not wait.
  return [
    `create or replace trigger "${name}_changed" after ${events} on "${table}" for each row execute function ${name}_changed()`,
    `alter table "${table}" enable trigger "${name}_changed"`,
  ];
}

function truncateTrigger(table: string): string[] {
  return [
    `create or replace trigger "gateway_truncated" after truncate on "${table}" for each statement execute function gateway_truncated()`,
    `alter table "${table}" enable trigger "gateway_truncated"`,
  ];
}
