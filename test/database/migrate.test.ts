// What `migrate` does to a database that is there already, what it says of that beforehand, and what it leaves alone.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { type MigrateOptions, type MigrationPlan, TABLES } from '../../src/database/migrate.ts';
import { migrateStore } from '../../src/gateway/commands.ts';
import { makeApplicationTables } from '../support/application/application.ts';
import { runCommand } from '../support/gateway-process.ts';
import { createDatabase, type TestDatabase } from '../support/postgres.ts';
import { openTestStore, type TestStore } from '../support/store.ts';

const ROOT = join(import.meta.dirname, '../..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

const OWN = TABLES.filter((name) => name.startsWith('gateway_'));

let database: TestDatabase;
let store: TestStore;
beforeEach(async () => {
  database = await createDatabase();
  store = openTestStore({ databaseUrl: database.url, dataDir: '' });
});
afterEach(async () => {
  await store.close();
  await database.drop();
});

const env = () => ({
  GATEWAY_CONFIG: join(ROOT, 'config/better-hub.yaml'),
  DATABASE_URL: database.url,
  BETTER_AUTH_SECRET: 'a-secret-for-tests-0123456789abcdefghij',
  BETTER_AUTH_URL: 'http://127.0.0.1:1',
});
const migrate = (options?: MigrateOptions) => migrateStore(loadConfig(env()), options);

/** Every object in the database that somebody has made, described by Postgres itself. */
async function catalogue(): Promise<string[]> {
  const rows = await store.query<{ line: string }>(`
    select format('column %s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
      pg_get_expr(d.adbin, d.adrelid)) as line
    from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
      left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')
    union all select format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint
      where connamespace = 'public'::regnamespace
    union all select 'index ' || indexdef from pg_indexes where schemaname = 'public'
    union all select 'trigger ' || pg_get_triggerdef(t.oid) from pg_trigger as t where not t.tgisinternal
    union all select 'function ' || proname from pg_proc where pronamespace = 'public'::regnamespace
    order by 1`);
  return rows.map(({ line }) => line);
}

/** Where each row stands: a row that is written again stands elsewhere. */
const places = () =>
  store.query(`select 'user' as name, ctid::text, xmin::text, id from "user"
    union all select 'account', ctid::text, xmin::text, id from account
    union all select 'session', ctid::text, xmin::text, id from session`);

async function aBetterHub(): Promise<void> {
  await makeApplicationTables(database.url);
  await store.query(`insert into "user" (id, name, email, "updatedAt")
    select 'u' || n, 'Name', 'same@example.com', now() from generate_series(1, 50) as n`);
  await store.query(`insert into account (id, "accountId", "providerId", "userId", "accessToken", "updatedAt")
    select 'a' || n, n, 'github', 'u' || n, 'ciphertext', now() from generate_series(1, 50) as n`);
  await store.query(`insert into session (id, token, "userId", "expiresAt", "updatedAt")
    select 's' || n, 't' || n, 'u' || n, now() + interval '1 day', now() from generate_series(1, 50) as n`);
}

describe('on the database of a running Better Hub', () => {
  beforeEach(aBetterHub);

  test('it adds gateway_* tables and triggers, no column, and writes no row anew', async () => {
    const [before, rows] = [await catalogue(), await places()];
    expect(await migrate()).toEqual(OWN);
    const after = await catalogue();
    expect(before.filter((line) => !after.includes(line))).toEqual([]);
    const added = after.filter((line) => !before.includes(line));
    expect(
      added.filter(
        (line) =>
          !/^(column|index CREATE UNIQUE INDEX|constraint|function|trigger CREATE TRIGGER) .*gateway_/.test(
            line,
          ),
      ),
    ).toEqual([]);
    expect(added.some((line) => line.startsWith('trigger'))).toBe(true);
    expect(await places()).toEqual(rows);
  });

  test('it says so beforehand, prints the SQL with --dry-run and then changes nothing', async () => {
    const before = await catalogue();
    const { code, output } = await runCommand(['migrate', '--dry-run'], env());
    expect(code).toBe(0);
    expect(await catalogue()).toEqual(before);
    expect(output).toMatch(/^begin;\n\ncreate table "gateway_github_profile" /);
    expect(output).not.toMatch(/drop|delete from|alter table "\w+" (add|alter)|update "/i);
    // What was printed is what would have been done.
    await store.query(output);
    const printed = await catalogue();
    expect(printed).not.toEqual(before);
    let plan: MigrationPlan | undefined;
    expect(await migrate({ onPlan: (told) => (plan = told) })).toEqual([]);
    expect(plan).toMatchObject({ statements: [], tables: [] });
    expect(await catalogue()).toEqual(printed);
  });

  test('it tells which index is missing, and how to make it', async () => {
    const advice = async () => {
      const indexes: string[] = [];
      await migrate({ dryRun: true, onPlan: (plan) => indexes.push(...plan.indexes) });
      return indexes;
    };
    expect(await advice()).toEqual([]);
    await store.query('drop index "account_userId_idx"');
    const { output } = await runCommand(['migrate', '--dry-run'], env());
    const [statement = ''] = await advice();
    expect(statement).toMatch(/^create index .*"account" \("userId"\)$/);
    expect(output.trimEnd().split('\n').at(-1)).toMatch(/^-- An index is missing/);
    expect(output).toContain(statement);
    expect((await runCommand(['migrate'], env())).output).toContain(`${statement};`);
    await store.query(statement);
    expect(await advice()).toEqual([]);
    // As it is when its making was broken off.
    await store.query(
      `update pg_index set indisvalid = false where indrelid = 'account'::regclass and not indisprimary`,
    );
    expect(await advice()).toEqual([statement]);
  });

  test('it is undone by the SQL in the README, which leaves the database as it was', async () => {
    const [before, rows] = [await catalogue(), await places()];
    await migrate();
    const [, undo = ''] = /```sql\n([^`]*gateway_session_changed[^`]*)```/.exec(README) ?? [];
    expect(undo).toContain('drop');
    await store.query(undo);
    expect(await catalogue()).toEqual(before);
    expect(await places()).toEqual(rows);
    expect(await migrate()).toEqual(OWN);
  });

  test.each([
    [
      'a missing column',
      `alter table session drop column "impersonatedBy"`,
      `"session"."impersonatedBy" is missing (text)`,
    ],
    [
      'a missing column of userFields',
      `alter table "user" drop column "onboardingDone"`,
      `"user"."onboardingDone" is missing (bool)`,
    ],
    [
      'a missing table',
      'drop table verification',
      `the table "verification" is missing, while others are there`,
    ],
    [
      'another type',
      `alter table "user" alter column banned drop default, alter column banned type text`,
      `"user"."banned" is of the type text instead of bool`,
    ],
    [
      'a column that has to be filled in',
      `alter table "user" add tenant text not null default ''; alter table "user" alter tenant drop default`,
      `"user"."tenant" is unknown, and new rows need a value in it`,
    ],
    [
      'a column that may not be empty',
      `update account set "refreshToken" = ''; alter table account alter "refreshToken" set not null`,
      `"account"."refreshToken" may not be null`,
    ],
    [
      'ids that are not unique',
      `alter table "user" drop constraint user_pkey cascade`,
      `"user"."id" is not unique`,
    ],
    [
      'a view',
      `alter table verification rename to v; create view verification as select * from v`,
      `"verification" is no table`,
    ],
  ])('it refuses %s, in a word, and changes nothing', async (_what, statement, fault) => {
    await store.query(statement);
    const before = await catalogue();
    await expect(migrate()).rejects.toThrow(fault);
    await expect(migrate({ dryRun: true })).rejects.toThrow(fault);
    expect(await catalogue()).toEqual(before);
  });

  test.each([
    ['more columns', `alter table "user" add nickname text, add score int not null default 0`],
    [
      'varchar and timestamptz',
      `alter table session alter token type varchar(255), alter "expiresAt" type timestamptz`,
    ],
    [
      'a ban that may not be null',
      `update "user" set banned = false; alter table "user" alter banned set not null`,
    ],
  ])('it takes %s', async (_what, statement) => {
    await store.query(statement);
    expect(await migrate()).toEqual(OWN);
  });

  test('it waits for nobody who keeps a table locked, and says so', async () => {
    const holder = new pg.Client(database.url);
    await holder.connect();
    await holder.query('begin; lock table "user" in access exclusive mode');
    const { code, output } = await runCommand(['migrate'], env());
    await holder.end();
    expect([code, output]).toEqual([1, expect.stringContaining('in use by a long transaction')]);
  });
});

test('an empty database gets every table, and triggers that were switched off or changed are renewed', async () => {
  expect(await migrate()).toEqual(TABLES);
  const before = await catalogue();
  const plans: MigrationPlan[] = [];
  const onPlan = (plan: MigrationPlan) => void plans.push(plan);
  await migrate({ onPlan });
  await store.query('alter table session disable trigger gateway_session_changed');
  await migrate({ onPlan });
  await store.query(`comment on function gateway_truncated() is 'of an earlier version'`);
  await migrate({ onPlan });
  await migrate({ onPlan });
  expect(plans.map(({ triggers }) => triggers)).toEqual([false, true, true, false]);
  expect(await catalogue()).toEqual(before);
});
