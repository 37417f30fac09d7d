// How long until a revocation is felt by another gateway that has the session in memory, whoever wrote it.
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient, post, signInWithToken } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { scale } from '../support/scale.ts';

const TIMES = scale({ quick: 20, full: 500 });
// The promise is measured in the full run; the quick one, beside other tests, only sees that it comes about.
const LONGEST_MS = scale({ quick: 2000, full: 100 });

describe.each(['postgres+redis', 'postgres'] as const)('two gateways on %s', (stores) => {
  let writer: TestGateway;
  let reader: TestGateway;
  let sql: pg.Client;
  let admin: Client;

  beforeAll(async () => {
    writer = await startTestGateway({ stores, env: { LOG_LEVEL: 'warn' }, config: CONFIG });
    reader = await writer.another();
    sql = new pg.Client({ connectionString: writer.config.databaseUrl ?? '' });
    await sql.connect();
    admin = await signInWithToken(writer, 'monalisa');
  });
  afterAll(async () => {
    await sql.end();
    await reader.close();
    await writer.close();
  });

  test.for<[string, (client: Client) => Promise<unknown>]>([
    ['a sign-out at another gateway', (client) => client.fetch('/api/auth/sign-out', post())],
    [
      'a session deleted by SQL',
      async (client) => sql.query('delete from session where token = $1', [tokenOf(client)]),
    ],
    [
      'a ban by SQL',
      async (client) =>
        sql.query(
          'update "user" set banned = true where id = (select "userId" from session where token = $1)',
          [tokenOf(client)],
        ),
    ],
    [
      'a ban by API at another gateway',
      async (client) => admin.fetch('/api/auth/admin/ban-user', post({ userId: await userIdOf(client) })),
    ],
  ])('%s is felt at the other gateway', async ([, revoke], context) => {
    const lags: number[] = [];
    for (let time = 0; time < TIMES; time++) {
      const client = await aPerson(time);
      const elsewhere = createClient(reader.url, new Map(client.cookies));
      expect((await elsewhere.fetch('/api/x')).status).toBe(200);
      expect((await elsewhere.fetch('/api/x')).status).toBe(200);
      await revoke(client);
      lags.push(await untilRefused(elsewhere));
    }
    lags.sort((a, b) => a - b);
    const p99 = lags[Math.floor(lags.length * 0.99)] ?? Number.NaN;
    report(context, {
      revocations: TIMES,
      missed: 0,
      p50Ms: lags[Math.floor(TIMES / 2)] ?? Number.NaN,
      p99Ms: p99,
    });
    expect(p99).toBeLessThanOrEqual(LONGEST_MS);
  });

  async function aPerson(time: number): Promise<Client> {
    const login = `person-${time}-${Math.floor(performance.now() * 1000)}`;
    const email = `${login}@example.com`;
    writer.github.control.addPerson({
      id: 10_000 + Math.floor(Math.random() * 1e9),
      login,
      name: login,
      emails: [{ email, primary: true, verified: true, visibility: null }],
    });
    // Each from an address of its own: sign-in tries are counted.
    const client = createClient(writer.url);
    const pat = writer.github.control.issueToken({ login, kind: 'classic', scopes: ['user:email'] });
    const headers = { 'content-type': 'application/json', 'x-forwarded-for': randomAddress() };
    const answer = await client.fetch('/api/auth/pat-signin', {
      method: 'POST',
      headers,
      body: JSON.stringify({ pat }),
    });
    expect(answer.status).toBe(200);
    return client;
  }
});

const CONFIG = `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes: [{ path: /api/**, upstream: hub, access: session }]
trustedProxies: [127.0.0.1]
admins: [monalisa]
`;

async function untilRefused(client: Client): Promise<number> {
  const startedAt = performance.now();
  while (performance.now() - startedAt < 5000) {
    const { status } = await client.fetch('/api/x');
    if (status !== 200) return performance.now() - startedAt;
  }
  throw new Error('the session was served for 5 s after its revocation');
}

async function userIdOf(client: Client): Promise<string> {
  const { user } = await client.json<{ user: { id: string } }>('/api/auth/get-session');
  return user.id;
}

function tokenOf(client: Client): string {
  return decodeURIComponent(client.cookies.get('better-auth.session_token') ?? '').split('.', 1)[0] ?? '';
}

function randomAddress(): string {
  return `10.${[0, 0, 0].map(() => Math.floor(Math.random() * 256)).join('.')}`;
}
