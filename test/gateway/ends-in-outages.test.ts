// What was answered about the end of a session holds, whatever happened to a store meanwhile: 200 is for good, and 503
// has changed nothing.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { createDatabase } from '../support/postgres.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { openTestStore, type TestStore } from '../support/store.ts';

const TIMES = scale({ quick: 2, full: 25 });
const RECOVERY_MS = 15_000;
/** How long an outage goes on beside the answers, at most. */
const LONGEST_OUTAGE_MS = 1500;
/** Beyond what the gateway waits for an answer. */
const SLOWEST_MS = 1400;

interface Outage {
  begin(proxies: readonly FaultProxy[]): Promise<unknown>;
  end(proxies: readonly FaultProxy[]): Promise<unknown>;
}

type StoreName = 'postgres' | 'redis';

const opened = new AsyncDisposableStack();
let redis: RedisServer;
let proxies: Record<StoreName, FaultProxy[]>;
let gateways: [TestGateway, TestGateway];
let admin: Client;
/** Past the proxies. */
let store: TestStore;

beforeAll(async () => {
  const database = await createDatabase();
  opened.defer(() => database.drop());
  redis = await startRedis();
  opened.defer(() => redis.close());
  const { hostname, port } = new URL(database.url);
  const postgres = { host: hostname, port: Number(port || 5432) };
  proxies = {
    postgres: [await startFaultProxy(postgres), await startFaultProxy(postgres)],
    redis: [await startFaultProxy(redis), await startFaultProxy(redis)],
  };
  for (const proxy of Object.values(proxies).flat()) opened.defer(() => proxy.close());
  store = openTestStore({ databaseUrl: database.url, dataDir: '' });
  opened.defer(() => store.close());
  const env = (at: number) => ({
    DATABASE_URL: proxies.postgres[at]?.url(database.url) ?? '',
    REDIS_URL: proxies.redis[at]?.url(redis.url) ?? '',
  });
  const first = await startTestGateway({ stores: 'sqlite', env: env(0), logLevel: 'fatal' });
  opened.defer(() => first.close());
  const second = await first.another({ ...env(1), BETTER_AUTH_URL: first.url });
  opened.defer(() => second.close());
  gateways = [first, second];
  admin = (await signInWithGitHub(first, 'monalisa')).client;
});
afterAll(() => opened.disposeAsync());

const byProxy = (fault: 'refuse' | 'reset' | 'blackhole'): Outage => ({
  begin: (those) => Promise.all(those.map((proxy) => proxy[fault]())),
  end: (those) => Promise.all(those.map((proxy) => proxy.heal())),
});
const slow: Outage = {
  begin: async (those) => {
    for (const proxy of those) proxy.delay(Math.random() * SLOWEST_MS);
  },
  end: async (those) => {
    for (const proxy of those) await proxy.heal();
    // What was said meanwhile is still under way, the news of a change, too.
    await sleep(SLOWEST_MS);
  },
};
/** It comes back with what it had before the sessions ended. */
const killed: Outage = {
  begin: () => redis.kill(),
  end: () => redis.start(),
};

test.for<[StoreName, string, Outage]>([
  ['postgres', 'refuses', byProxy('refuse')],
  ['postgres', 'resets', byProxy('reset')],
  ['postgres', 'is silent', byProxy('blackhole')],
  ['postgres', 'is slow', slow],
  ['redis', 'refuses', byProxy('refuse')],
  ['redis', 'resets', byProxy('reset')],
  ['redis', 'is silent', byProxy('blackhole')],
  ['redis', 'is slow', slow],
  ['redis', 'is killed and comes back with old entries', killed],
])('while %s %s', UNHURRIED, async ([name, , outage], context) => {
  const ended: Ended[] = [];
  for (let time = 0; time < TIMES; time++) ended.push(...(await oneOutage(name, outage, time)));
  const count = (which: (each: Ended) => boolean) => ended.filter(which).length;
  report(context, {
    answered200: count(({ status }) => status === 200),
    answered503: count(({ status }) => status === 503),
    revived: count(isRevived),
    cleared: count(isCleared),
    changed: count(isChanged),
  });
  expect([200, 503]).toEqual(expect.arrayContaining(ended.map(({ status }) => status)));
  expect(ended.filter((each) => isRevived(each) || isCleared(each))).toEqual([]);
  expect(ended.filter(isChanged)).toEqual([]);
});

const isRevived = ({ status, alive }: Ended) => status === 200 && alive.includes(true);
const isCleared = ({ status, cookies }: Ended) => status !== 200 && cookies.length > 0;
const isChanged = ({ status, alive, sameRows }: Ended) =>
  status !== 200 && (alive.includes(false) || !sameRows);

interface Ended {
  readonly ending: string;
  readonly status: number;
  /** Whether each gateway served it afterwards. */
  readonly alive: readonly boolean[];
  readonly sameRows: boolean;
  /** What the client was told to keep or clear. */
  readonly cookies: readonly string[];
}

/** Four sessions end while the outage begins. */
async function oneOutage(name: StoreName, outage: Outage, time: number): Promise<Ended[]> {
  // Every other time it is the gateway's own way to the store that breaks, not the store.
  const hit = time % 2 === 0 ? proxies[name] : proxies[name].slice(0, 1);
  const sessions = await Promise.all(['sign-out', 'sign-out', 'ban', 'revoke-sessions'].map(aSession));
  await redis.cli('SAVE');
  const answers = sessions.map(async (session) => {
    await sleep(Math.random() * 20);
    return { session, response: await session.end() };
  });
  await sleep(Math.random() * 30);
  await outage.begin(hit);
  await Promise.race([Promise.all(answers), sleep(Math.random() * LONGEST_OUTAGE_MS)]);
  await outage.end(hit);
  const answered = await Promise.all(answers);
  for (const { adminUrl } of gateways)
    await expect
      .poll(async () => (await fetch(`${adminUrl}/readyz`)).status, { timeout: RECOVERY_MS, interval: 20 })
      .toBe(200);
  return Promise.all(answered.map(({ session, response }) => judge(session, response)));
}

async function judge({ ending, replays, rows, before }: EndingSession, response: Response): Promise<Ended> {
  const statuses = await Promise.all(replays.map(async (replay) => (await replay.fetch('/api/x')).status));
  return {
    ending,
    status: response.status,
    alive: statuses.map((status) => status === 200),
    sameRows: JSON.stringify(await rows()) === before,
    cookies: response.headers.getSetCookie(),
  };
}

interface EndingSession {
  readonly ending: string;
  end(): Promise<Response>;
  /** Its cookies as they are now, at both gateways. */
  readonly replays: readonly Client[];
  rows(): Promise<unknown>;
  /** The rows as they were, as JSON. */
  readonly before: string;
}

/** In the memory of both gateways, and in Redis. */
async function aSession(ending: string): Promise<EndingSession> {
  const [here] = gateways;
  const { client } = await signInWithGitHub(here, addPerson(here.github).login);
  const { user } = await client.json<{ user: { id: string } }>('/api/auth/get-session');
  const replays = gateways.map(({ url }) => createClient(url, new Map(client.cookies)));
  for (const replay of replays) expect((await replay.fetch('/api/x')).status).toBe(200);
  const now = () =>
    store.query(
      `select s.*, u.banned, u."banReason" from session as s join "user" as u on u.id = s."userId" where u.id = $1`,
      user.id,
    );
  const end = () =>
    ending === 'ban'
      ? admin.fetch('/api/auth/admin/ban-user', post({ userId: user.id }))
      : client.fetch(`/api/auth/${ending}`, post());
  return { ending, end, replays, rows: now, before: JSON.stringify(await now()) };
}
