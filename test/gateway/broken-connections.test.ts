// Postgres cuts connections in the middle of their work, as a restart or a failover does.
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, signInWithToken } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
let client: Client;
let operator: pg.Client;

beforeAll(async () => {
  gateway = await startTestGateway({ stores: 'postgres' });
  client = await signInWithToken(gateway);
  operator = new pg.Client({ connectionString: gateway.config.databaseUrl ?? '' });
  await operator.connect();
});
afterAll(async () => {
  await operator.end();
  await gateway.close();
});

test('connections that are cut while they are used end no process and nobody’s session', async () => {
  const statuses = new Set<number>();
  for (let round = 0; round < 10; round++) {
    const requests = Array.from({ length: 10 }, (_, at) =>
      client.fetch(at % 2 === 0 ? '/api/auth/get-session' : '/api/x'),
    );
    await operator.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    );
    for (const { status } of await Promise.all(requests)) statuses.add(status);
  }
  expect([...statuses].filter((status) => status !== 200 && status !== 503)).toEqual([]);
  await expect.poll(async () => (await client.fetch('/api/x')).status, { timeout: 5000 }).toBe(200);
});
