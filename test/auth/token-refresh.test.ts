import { Client as PostgresClient } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createGitHubClient } from '../../src/auth/github.ts';
import { createTokenCipher } from '../../src/auth/token-cipher.ts';
import { type RefreshResult, tokenRefresher } from '../../src/auth/token-refresh.ts';
import { type Database, openDatabase } from '../../src/database/database.ts';
import type { GitHubAccount } from '../../src/policy/session.ts';
import { signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';

let gateway: TestGateway;
let database: Database;
let holder: PostgresClient;
beforeAll(async () => {
  gateway = await startTestGateway({ stores: 'postgres' });
  gateway.github.app.expiringTokens = true;
  database = openDatabase(gateway.config);
  holder = new PostgresClient({ connectionString: gateway.env.DATABASE_URL });
  await holder.connect();
});
afterAll(async () => {
  await holder?.end();
  await database?.close();
  await gateway?.close();
});

/** Since when somebody waits for the table of accounts. */
async function waitingSince(): Promise<string | undefined> {
  const [row] = await gateway.store.query<{ since: string }>(
    `select a.query_start::text as since from pg_stat_activity as a join pg_locks as l using (pid)
     where not l.granted and l.locktype = 'relation' and a.datname = current_database()`,
  );
  return row?.since;
}

test('a store that is slow once fails nobody who waits for a new token', async () => {
  const { id, login } = addPerson(gateway.github);
  await signInWithGitHub(gateway, login);
  const end = new Date(Date.now() - 1000);
  const [row] = await gateway.store.query<{ accessToken: string }>(
    `update account set "accessTokenExpiresAt" = $1 where "accountId" = $2 returning "accessToken"`,
    end.toISOString(),
    String(id),
  );
  const { config } = gateway;
  const results: RefreshResult[] = [];
  const refresh = tokenRefresher({
    database,
    cipher: createTokenCipher({ ...config, format: config.githubTokens.format }),
    client: createGitHubClient(config.github),
    onUserChanged: async () => {},
    onRefresh: (result) => void results.push(result),
  });
  const account = { id: String(id), login, encryptedToken: row?.accessToken ?? null } as GitHubAccount;
  await holder.query('begin');
  await holder.query('lock table account in access exclusive mode');
  const tokens = Promise.allSettled(Array.from({ length: 100 }, () => refresh(account)));
  try {
    await expect.poll(waitingSince, { timeout: 10_000, interval: 5 }).toBeDefined();
    const since = await waitingSince();
    // The first has given up.
    await expect.poll(waitingSince, { timeout: 10_000, interval: 5 }).not.toBe(since);
  } finally {
    await holder.query('rollback');
  }
  const given = (await tokens).map((each) =>
    each.status === 'fulfilled' ? each.value.token : String(each.reason),
  );
  expect(new Set(given).size).toBe(1);
  const answer = await fetch(`${gateway.github.apiUrl}/user`, {
    headers: { authorization: `Bearer ${given[0]}` },
  });
  expect([answer.status, results, gateway.github.control.refreshes]).toEqual([200, ['refreshed'], 1]);
});
