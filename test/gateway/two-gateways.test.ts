import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { type Surroundings, startSurroundings, startTestGateway } from '../support/gateway.ts';
import { runCommand, startGatewayProcess } from '../support/gateway-process.ts';
import { openTestStore } from '../support/store.ts';

const TABLES = [
  'account',
  'gateway_ended_session',
  'gateway_github_check',
  'gateway_github_profile',
  'session',
  'user',
  'verification',
];

async function surroundings(stores: 'postgres+redis' | 'postgres' | 'sqlite'): Promise<Surroundings> {
  const around = await startSurroundings({ stores });
  onTestFinished(() => around.close());
  return around;
}

async function process(around: Surroundings, more: Record<string, string> = {}) {
  const gateway = await startGatewayProcess(around, more);
  onTestFinished(async () => void (await gateway.end()));
  return gateway;
}

test.each(['postgres+redis', 'postgres'] as const)(
  'one session serves on two gateways; signing out on one ends it on both, on %s',
  async (stores) => {
    const first = await startTestGateway({ stores });
    onTestFinished(() => first.close());
    const second = await first.another();
    onTestFinished(() => second.close());
    const { client } = await signInWithGitHub(first, 'octocat');
    const there = createClient(second.url, new Map(client.cookies));
    const replay = createClient(second.url, new Map(client.cookies));
    const statuses = await Promise.all(
      Array.from(
        { length: 20 },
        async (_each, at) => (await (at % 2 ? client : there).fetch('/api/x')).status,
      ),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(await there.json('/api/auth/get-session')).toEqual(await client.json('/api/auth/get-session'));
    expect((await there.fetch('/api/auth/sign-out', post())).status).toBe(200);
    expect((await replay.fetch('/api/x')).status).toBe(401);
    await expect
      .poll(async () => (await client.fetch('/api/x')).status, { interval: 5, timeout: 5000 })
      .toBe(401);
    for (const each of [client, replay]) {
      expect(await each.json('/api/auth/get-session')).toBeNull();
    }
  },
);

test('a sign-in begun on one gateway ends on the other', async () => {
  const first = await startTestGateway({ stores: 'postgres' });
  onTestFinished(() => first.close());
  const second = await first.another({ BETTER_AUTH_URL: first.url });
  onTestFinished(() => second.close());
  const client = createClient(first.url);
  const started = await client.curl('/api/auth/sign-in/social?provider=github&callbackURL=/api/home');
  const url = started.headers.get('location') ?? '';
  const callback = await first.github.control.authorize({ url, login: 'octocat' });
  const answer = await client.curl(callback.replace(first.url, second.url));
  expect([answer.status, answer.headers.get('location')]).toEqual([
    302,
    expect.stringMatching(/\/api\/home$/),
  ]);
  expect((await client.fetch('/api/home')).status).toBe(200);
});

describe('several secrets', () => {
  const OLD = 'the-old-secret-0123456789-abcdefghijklm';
  const NEW = 'the-new-secret-0123456789-nopqrstuvwxyz';

  test.each(['postgres+redis', 'postgres'] as const)(
    'a session signed with the old one goes on everywhere until it signs out, on %s',
    async (stores) => {
      const before = await startTestGateway({ stores, env: { BETTER_AUTH_SECRETS: `1:${OLD}` } });
      onTestFinished(() => before.close());
      const { client } = await signInWithGitHub(before, 'octocat');
      const after = await before.another({ BETTER_AUTH_SECRETS: `2:${NEW},1:${OLD}` });
      onTestFinished(() => after.close());
      const carried = createClient(after.url, new Map(client.cookies));
      const replay = createClient(after.url, new Map(client.cookies));
      expect(await carried.json('/api/home')).toMatchObject({
        headers: {
          'x-forwarded-preferred-username': 'octocat',
          'x-forwarded-access-token': expect.stringMatching(/^gho_/),
        },
      });
      expect(await carried.json('/api/auth/get-session')).toMatchObject({
        user: { email: 'octocat@example.com' },
      });
      expect(await carried.json('/api/auth/list-sessions')).toHaveLength(1);
      expect((await carried.fetch('/api/auth/sign-out', post())).status).toBe(200);
      expect((await replay.fetch('/api/x')).status).toBe(401);
      expect((await client.fetch('/api/x')).status, 'on the old gateway, too').toBe(401);
    },
  );

  test('new sessions are signed with the first, which a gateway that knows only the old one refuses', async () => {
    const before = await startTestGateway({ stores: 'postgres', env: { BETTER_AUTH_SECRETS: `1:${OLD}` } });
    onTestFinished(() => before.close());
    const after = await before.another({ BETTER_AUTH_SECRETS: `2:${NEW},1:${OLD}` });
    onTestFinished(() => after.close());
    const { client } = await signInWithGitHub(after, 'octocat');
    expect((await client.fetch('/api/home')).status).toBe(200);
    const refused = await createClient(before.url, new Map(client.cookies)).fetch('/api/home');
    expect([refused.status, await refused.json()]).toEqual([
      401,
      expect.objectContaining({ code: 'session-invalid' }),
    ]);
    const only = await before.another({ BETTER_AUTH_SECRETS: `2:${NEW}` });
    onTestFinished(() => only.close());
    const there = createClient(only.url, new Map(client.cookies));
    expect(await there.json('/api/home')).toMatchObject({
      headers: { 'x-forwarded-access-token': expect.stringMatching(/^gho_/) },
    });
  });

  test('a sign-in begun under the old one ends under the new one', async () => {
    const before = await startTestGateway({ stores: 'postgres', env: { BETTER_AUTH_SECRETS: `1:${OLD}` } });
    onTestFinished(() => before.close());
    const after = await before.another({
      BETTER_AUTH_SECRETS: `2:${NEW},1:${OLD}`,
      BETTER_AUTH_URL: before.url,
    });
    onTestFinished(() => after.close());
    const client = createClient(before.url);
    const started = await client.curl('/api/auth/sign-in/social?provider=github&callbackURL=/api/home');
    const url = started.headers.get('location') ?? '';
    const callback = await before.github.control.authorize({ url, login: 'octocat' });
    const answer = await client.curl(callback.replace(before.url, after.url));
    expect(answer.headers.get('location')).toMatch(/\/api\/home$/);
    expect((await createClient(after.url, new Map(client.cookies)).fetch('/api/home')).status).toBe(200);
  });
});

describe('processes at once', () => {
  test('several migrations make the tables once, and a further one finds nothing to do', async () => {
    const around = await surroundings('postgres');
    const runs = await Promise.all([1, 2, 3, 4].map(() => runCommand(['migrate'], around.env)));
    expect(runs).toEqual(runs.map(() => ({ code: 0, output: expect.any(String) })));
    expect(runs.filter(({ output }) => output.includes('Tables made'))).toHaveLength(1);
    const store = openTestStore({ databaseUrl: around.env.DATABASE_URL ?? '', dataDir: '' });
    onTestFinished(() => store.close());
    const tables = await store.query<{ name: string }>(
      `select table_name as name from information_schema.tables where table_schema = 'public' order by 1`,
    );
    expect(tables.map(({ name }) => name)).toEqual(TABLES);
    expect(await runCommand(['migrate'], around.env)).toEqual({
      code: 0,
      output: expect.stringContaining('there already'),
    });
  });

  test('gateways start while the tables are made, and serve one session together', async () => {
    const around = await surroundings('postgres');
    const [migrated, first, second] = await Promise.all([
      runCommand(['migrate'], around.env),
      process(around),
      process(around),
    ]);
    expect(migrated.code).toBe(0);
    const { client } = await signInWithGitHub(first, 'octocat');
    const there = createClient(second.url, new Map(client.cookies));
    for (const each of [client, there]) expect((await each.fetch('/api/x')).status).toBe(200);
    for (const each of [first, second]) {
      expect((await fetch(`${each.adminUrl}/readyz`)).status).toBe(200);
      expect(await each.end()).toBe(0);
    }
  });

  test('on one data folder the second is refused in words, and the first goes on', async () => {
    const around = await surroundings('sqlite');
    const first = await process(around);
    const second = await runCommand(['start'], {
      ...around.env,
      PORT: '0',
      ADMIN_PORT: '0',
      BETTER_AUTH_URL: 'http://127.0.0.1:1',
    });
    expect(second.code).toBe(1);
    expect(second.output.trim()).toMatch(/^Another gateway is using the data folder .*DATA_DIR/);
    expect(second.output.trim().split('\n')).toHaveLength(1);
    const { client } = await signInWithGitHub(first, 'octocat');
    expect((await client.fetch('/api/x')).status).toBe(200);
    expect(await first.end()).toBe(0);
    const third = await process(around);
    expect(
      (await createClient(third.url, new Map(client.cookies)).fetch('/api/x')).status,
      'the session is still there',
    ).toBe(200);
  });

  test('a gateway that is killed leaves no lock behind', async () => {
    const around = await surroundings('sqlite');
    const first = await process(around);
    globalThis.process.kill(first.pid, 'SIGKILL');
    const second = await process(around);
    const { client } = await signInWithGitHub(second, 'octocat');
    expect((await client.fetch('/api/x')).status).toBe(200);
  });

  test('several migrations of one data folder at once do no harm', async () => {
    const around = await surroundings('sqlite');
    const runs = await Promise.all([1, 2, 3].map(() => runCommand(['migrate'], around.env)));
    expect(runs.map(({ code, output }) => [code, output])).toEqual(runs.map(() => [0, expect.any(String)]));
  });

  test('SIGTERM ends a gateway with 0, its data kept, its log one line of JSON an event', async () => {
    const around = await surroundings('sqlite');
    const gateway = await process(around);
    const { client } = await signInWithGitHub(gateway, 'octocat');
    await client.fetch('/api/x');
    await client.fetch('/nowhere');
    expect(await gateway.end()).toBe(0);
    const lines = gateway.output().trim().split('\n');
    expect(lines.length).toBeGreaterThan(3);
    for (const line of lines) expect(JSON.parse(line), line).toMatchObject({ time: expect.any(String) });
  });
});

test('the secret command makes a secret that is accepted', async () => {
  const { code, output } = await runCommand(['secret'], {});
  expect(code).toBe(0);
  expect(output.trim()).toMatch(/^[\w-]{43}$/);
  const around = await surroundings('sqlite');
  const gateway = await process(around, { BETTER_AUTH_SECRET: output.trim() });
  expect(await gateway.end()).toBe(0);
});

test('the data folder is readable by its owner alone', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'gateway-folder-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const around = await surroundings('sqlite');
  const { code } = await runCommand(['migrate'], { ...around.env, DATA_DIR: join(dir, 'data') });
  expect(code).toBe(0);
  expect((await stat(join(dir, 'data'))).mode & 0o077).toBe(0);
});
