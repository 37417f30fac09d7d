// Postgres tells every gateway what changed, whoever changed it: triggers NOTIFY session and person. Their payloads
// are hashes and ids, of no use to who else listens.
import { sql } from 'kysely';
import type { Database } from './database.ts';

/** What gateways LISTEN on. Payloads: `s:<SHA-256 of the session token, hex>` and `u:<user id>`. */
export const CHANNEL = 'gateway_session';

/** Installs or renews the triggers; safe to run again. Nothing on SQLite, whose one process knows its own writes. */
export async function installTriggers(database: Database): Promise<void> {
  if (database.kind === 'sqlite') return;
  for (const statement of STATEMENTS) await sql.raw(statement).execute(database.kysely);
}

const HASH = `encode(sha256(convert_to(old."token", 'UTF8')), 'hex')`;

/** Are they all there? A database one may not alter is migrated without them. */
export async function triggersInstalled(database: Database): Promise<boolean> {
  const { rows } = await sql<{ count: string }>`
    select count(*) as "count" from pg_trigger as t join pg_class as c on c.oid = t.tgrelid
    where t.tgname in ('gateway_session_changed', 'gateway_user_changed', 'gateway_account_changed')
      and c.relnamespace = current_schema()::regnamespace`.execute(database.kysely);
  return Number(rows[0]?.count ?? 0) === 4;
}

// They run with the rights of whoever made them: an application's own role need not know our tables to delete a
// session.
const AS_OWNER = 'returns trigger language plpgsql security definer set search_path from current';

const STATEMENTS = [
  // A session deleted while its user is banned was ended by the ban: its cookie is answered so while the ban lasts.
  `create or replace function gateway_session_changed() ${AS_OWNER} as $$
   begin
     if tg_op = 'DELETE' then
       insert into "gateway_ended_session" ("tokenHash", "userId", "until")
         select ${HASH}, u."id", old."expiresAt" from "user" as u where u."id" = old."userId" and u."banned"
         on conflict ("tokenHash") do nothing;
     end if;
     perform pg_notify('${CHANNEL}', 's:' || ${HASH});
     return null;
   end $$`,
  `create or replace function gateway_user_changed() ${AS_OWNER} as $$
   begin
     perform pg_notify('${CHANNEL}', 'u:' || old."id");
     return null;
   end $$`,
  `create or replace function gateway_account_changed() ${AS_OWNER} as $$
   begin
     if tg_op <> 'INSERT' then perform pg_notify('${CHANNEL}', 'u:' || old."userId"); end if;
     if tg_op <> 'DELETE' then perform pg_notify('${CHANNEL}', 'u:' || new."userId"); end if;
     return null;
   end $$`,
  // Only what a lookup reads: an application that stamps lastActiveAt on every request changes nothing for us.
  ...trigger('gateway_session', 'session', changes('token', 'userId', 'expiresAt', 'impersonatedBy')),
  ...trigger('gateway_user', 'user', changes('email', 'name', 'role', 'banned', 'banReason', 'banExpires')),
  ...trigger(
    'gateway_account',
    'account',
    `insert or ${changes('userId', 'accountId', 'accessToken', 'accessTokenExpiresAt', 'scope')}`,
  ),
  ...trigger('gateway_account', 'gateway_github_profile', `insert or ${changes('login', 'scopesKnown')}`),
];

function changes(...columns: string[]): string {
  return `update of ${columns.map((column) => `"${column}"`).join(', ')} or delete`;
}

function trigger(name: string, table: string, events: string): string[] {
  return [
    `drop trigger if exists "${name}_changed" on "${table}"`,
    `create trigger "${name}_changed" after ${events} on "${table}" for each row execute function ${name}_changed()`,
  ];
}
