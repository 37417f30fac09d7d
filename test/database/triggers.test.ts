// What the triggers tell, to whom, and with whose rights.
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
let sql: pg.Client;

beforeAll(async () => {
  gateway = await startTestGateway({ stores: 'postgres' });
  sql = new pg.Client({ connectionString: gateway.config.databaseUrl ?? '' });
  await sql.connect();
});
afterAll(async () => {
  await sql.end();
  await gateway.close();
});

const warm = async (): Promise<Client> => {
  const { client } = await signInWithGitHub(gateway, 'octocat');
  expect((await client.fetch('/api/x')).status).toBe(200);
  return client;
};
const statusOf = (client: Client) => async () => (await client.fetch('/api/x')).status;
const FELT = { interval: 10, timeout: 2000 };

test('a table that is emptied ends every session', async () => {
  const client = await warm();
  await sql.query('truncate session');
  await expect.poll(statusOf(client), FELT).toBe(401);
});

test('a stamp that no lookup reads is told to nobody', async () => {
  await warm();
  const heard: string[] = [];
  sql.on('notification', ({ payload }) => heard.push(payload ?? ''));
  await sql.query('listen gateway_session');
  await sql.query('update "user" set "updatedAt" = now()');
  await sql.query(`update "user" set name = name || '!'`);
  await expect.poll(() => heard.length).toBeGreaterThan(0);
  await sql.query('unlisten gateway_session');
  const [{ id }] = (await sql.query('select id from "user"')).rows;
  expect(heard).toEqual([`u:${id}`]);
});

test('they run with a fixed path on which temporary tables come last', async () => {
  const { rows } = await sql.query(
    `select proname, prosecdef, proconfig from pg_proc where proname like 'gateway\\_%' order by proname`,
  );
  expect(rows).toHaveLength(4);
  for (const { proname, prosecdef, proconfig } of rows) {
    expect(prosecdef, proname).toBe(true);
    expect(proconfig, proname).toContainEqual('search_path=pg_catalog, public, pg_temp');
  }
});

test('a role that knows nothing of the gateway may delete sessions, and gains nothing by it', async () => {
  await warm();
  await sql.query(
    `create role app_role; grant select, delete on session to app_role; grant temp on database ${sql.database} to app_role`,
  );
  try {
    await sql.query('begin');
    await sql.query('set local role app_role');
    await sql.query('create temp table "user" (id text, banned boolean) on commit drop');
    await sql.query(`insert into pg_temp."user" select "userId", true from public.session`);
    expect((await sql.query('delete from public.session')).rowCount).toBeGreaterThan(0);
    await sql.query('commit');
    // The look-alike said that everybody is banned; it was not asked.
    expect((await sql.query('select 1 from gateway_ended_session')).rowCount).toBe(0);
  } finally {
    await sql.query('rollback');
    await sql.query(`drop owned by app_role; drop role app_role`);
  }
});

test('triggers that are switched off are noticed: memory is trusted for a moment only', async () => {
  await sql.query('alter table session disable trigger all');
  const said = () => gateway.logLines().filter((line) => line.includes('missing or disabled')).length;
  await expect.poll(said, { timeout: 5000 }).toBeGreaterThan(0);
  const client = await warm();
  await sql.query('delete from session');
  await expect.poll(statusOf(client), { timeout: 5000 }).toBe(401);
  await sql.query('alter table session enable trigger all');
});
