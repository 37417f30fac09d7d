// Two gateway processes under load on stores of their own, which may be taken away from them.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { expect } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { migrateStore } from '../../src/gateway/commands.ts';
import { sign } from '../../src/sessions/cookie.ts';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { type Surroundings, startSurroundings } from './gateway.ts';
import { type GatewayProcess, startGatewayProcess } from './gateway-process.ts';
import { kindsOf, type Load, type Sample, sample, sampleAll, startLoad, tally } from './load.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';
import { type RedisServer, startRedis } from './redis.ts';
import { scale } from './scale.ts';

/** The promise: whatever store was away, a gateway is whole again so soon after it is back. */
export const HEAL_LIMIT_MS = 5000;
/** How long an outage lasts. */
export const OUTAGE_MS = scale({ quick: 3000, full: 30_000 });
/** For `testTimeout`: an outage and its end, beside other tests. */
export const TEST_LIMIT_MS = scale({ quick: 60_000, full: 600_000 });
export const REQUESTS_PER_SECOND = scale({ quick: 60, full: 300 });

const LEAD_MS = scale({ quick: 300, full: 3000 });
const CALM_MS = scale({ quick: 500, full: 3000 });
/** In the full run thousands of sessions are asked for once, before anything is measured. */
const WARM_WITHIN_MS = scale({ quick: 2 * HEAL_LIMIT_MS, full: 60_000 });
const KNOWN_SESSIONS = scale({ quick: 20, full: 200 });
const SECRET = 'a-secret-for-tests-0123456789abcdefghij';
const COOKIE = 'better-auth.session_token';
const CONFIG = `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes:
  - { path: /public/**, upstream: hub, access: public }
  - { path: /api/admin/**, upstream: hub, access: { roles: [admin] } }
  - { path: /api/**, upstream: hub, access: session }
admins: [monalisa]
trustedProxies: [127.0.0.1]
`;

/** What a store does to the gateways while it is faulty. */
export interface Outage {
  begin(): Promise<unknown> | unknown;
  end(): Promise<unknown> | unknown;
}

export interface PersonSession {
  readonly userId: string;
  readonly token: string;
  /** The Cookie header. */
  readonly cookie: string;
}

export interface World {
  readonly postgres: PostgresServer;
  readonly redis: RedisServer;
  /** Gateways reach the stores through these. */
  readonly proxies: { readonly postgres: FaultProxy; readonly redis: FaultProxy };
  readonly gateways: readonly [GatewayProcess, GatewayProcess];
  /** Further gateways on the same stores. */
  readonly around: Surroundings;
  query(statement: string, values?: readonly unknown[]): Promise<pg.QueryResult>;
  /** Rows of people with one session each, of which no gateway knows. */
  addSessions(count: number): Promise<PersonSession[]>;
  addSession(): Promise<PersonSession>;
  close(): Promise<void>;
}

/** Takes a few seconds: made once a file. */
export async function startWorld(): Promise<World> {
  const opened = new AsyncDisposableStack();
  try {
    return await openWorld(opened);
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

async function openWorld(opened: AsyncDisposableStack): Promise<World> {
  const defer = <T>(thing: T, end: (thing: T) => Promise<unknown>) =>
    opened.adopt(thing, async () => void (await end(thing)));
  const [postgres, redis] = await Promise.all([
    startPostgres({ settings: POSTGRES_SETTINGS }).then((server) => defer(server, () => server.close())),
    startRedis({ settings: REDIS_SETTINGS }).then((server) => defer(server, () => server.close())),
  ]);
  const proxies = {
    postgres: defer(await startFaultProxy(postgres), (proxy) => proxy.close()),
    redis: defer(await startFaultProxy(redis), (proxy) => proxy.close()),
  };
  const around = defer(await startSurroundings(surroundings(proxies, postgres, redis)), (all) => all.close());
  around.upstream.respond((_request, response) => {
    // Hundreds of thousands of requests are not worth remembering.
    around.upstream.seen.length = 0;
    response.end('{}');
  });
  const config = loadConfig({ ...around.env, PORT: '1', DATABASE_URL: postgres.url });
  await migrateStore(config);
  const pool = defer(new pg.Pool({ connectionString: postgres.url, max: 2, idleTimeoutMillis: 0 }), (each) =>
    each.end(),
  );
  // Tests take the server away under it.
  pool.on('error', () => {});
  const start = async () => defer(await startGatewayProcess(around), (gateway) => gateway.end());
  const [one, two] = [await start(), await start()];
  return {
    postgres,
    redis,
    proxies,
    around,
    gateways: [one, two],
    query: (statement, values = []) => pool.query(statement, [...values]),
    addSessions: (count) => addSessions(pool, count),
    addSession: async () => (await addSessions(pool, 1))[0] as PersonSession,
    close: () => opened.disposeAsync(),
  };
}

/** Every statement is written to the log, with the moment; see {@link statementsLogged}. */
const POSTGRES_SETTINGS = { max_connections: '40', log_statement: 'all', log_line_prefix: '%n ' };
/** Loading takes a while: half a millisecond a key. */
const REDIS_SETTINGS = { 'key-load-delay': '500', 'loading-process-events-interval-bytes': '1024' };

function surroundings(proxies: World['proxies'], postgres: PostgresServer, redis: RedisServer) {
  const env = {
    DATABASE_URL: proxies.postgres.url(postgres.url),
    REDIS_URL: proxies.redis.url(redis.url),
    BETTER_AUTH_SECRET: SECRET,
    // Both stand for one address.
    BETTER_AUTH_URL: 'http://127.0.0.1:1',
    // One line a request would only cost time; what changes to the worse is a warning.
    LOG_LEVEL: 'warn',
  };
  return { stores: 'sqlite', config: CONFIG, env } as const;
}

async function addSessions(pool: pg.Pool, count: number): Promise<PersonSession[]> {
  const sessions = Array.from({ length: count }, () => {
    const [userId, token] = [`user-${newName()}`, newName()];
    return { userId, token, cookie: cookieOf(token) };
  });
  const [userIds, tokens] = [sessions.map(({ userId }) => userId), sessions.map(({ token }) => token)];
  await pool.query(
    `insert into "user" (id, name, email, "emailVerified", role, banned, "createdAt", "updatedAt")
     select id, 'Name', id || '@example.com', true, 'user', false, now(), now() from unnest($1::text[]) as id`,
    [userIds],
  );
  await pool.query(
    `insert into session (id, token, "userId", "expiresAt", "createdAt", "updatedAt")
     select 'id-' || md5(token), token, "userId", now() + interval '7 days', now(), now()
     from unnest($1::text[], $2::text[]) as row (token, "userId")`,
    [tokens, userIds],
  );
  return sessions;
}

function newName(): string {
  return randomBytes(16).toString('hex');
}

/** The Cookie header of a session that was written past the gateway. */
export function cookieOf(token: string): string {
  return `${COOKIE}=${sign(token, SECRET)}`;
}

/** A store that dies, and is started again. */
export function killed(server: PostgresServer | RedisServer, proxy: FaultProxy): Outage {
  return {
    // The proxy would accept what a dead process refuses.
    begin: async () => {
      await server.kill();
      await proxy.refuse();
    },
    end: async () => {
      await server.start();
      await proxy.heal();
    },
  };
}

/** A store that is there and says nothing. */
export function paused(server: PostgresServer | RedisServer): Outage {
  return { begin: () => server.pause(), end: () => server.resume() };
}

/** How sessions fared through an outage, by what the gateways knew of them when it began. */
export interface Ride {
  /** Both gateways had answered for them. */
  readonly known: readonly Sample[];
  /** One gateway had, and the requests went to the other: they are in Redis. */
  readonly inRedis: readonly Sample[];
  /** Asked about for the first time, each once. */
  readonly fresh: readonly Sample[];
  /** Of `performance.now()`: when the outage had begun, when its end began, when the store was there again … */
  readonly from: number;
  readonly until: number;
  readonly backAt: number;
  /** … and when the gateways were well again. */
  readonly healedAt: number;
  /** What each gateway said meanwhile. */
  readonly logs: readonly LogCount[];
}

export interface LogCount {
  readonly lines: number;
  /** Warnings that name a state, such as `{ 'redis-unavailable': 1 }`. */
  readonly states: Record<string, number>;
}

/**
 * Load before, during and after an outage: half of it for sessions that are known, the rest for others.
 *
 * @param meanwhile runs while the outage lasts
 */
export async function rideThrough(
  world: World,
  outage: Outage,
  meanwhile: () => Promise<unknown> = async () => {},
): Promise<Ride> {
  await healed(world);
  const loads = await startLoads(world);
  const logged = world.gateways.map((gateway) => gateway.output().length);
  try {
    await sleep(LEAD_MS);
    const times = await during(outage, () => Promise.all([sleep(OUTAGE_MS), meanwhile()]));
    const healedAt = await healed(world);
    await sleep(CALM_MS);
    const logs = world.gateways.map((gateway, at) => countLog(gateway.output().slice(logged[at])));
    const [known, inRedis, fresh] = loads.map((load) => load.samples) as [Sample[], Sample[], Sample[]];
    return { known, inRedis, fresh, ...times, healedAt, logs };
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
  }
}

/** The outage ends whatever becomes of the work. */
export async function during(
  outage: Outage,
  work: () => Promise<unknown>,
): Promise<Pick<Ride, 'from' | 'until' | 'backAt'>> {
  await outage.begin();
  const from = performance.now();
  let until = from;
  try {
    await work();
  } finally {
    until = performance.now();
    await outage.end();
  }
  return { from, until, backAt: performance.now() };
}

/**
 * Waits until both gateways are ready and serve a session they did not know.
 *
 * @returns the moment at which they were
 */
export async function healed(world: World): Promise<number> {
  const { cookie } = await world.addSession();
  const isWell = async ({ url, adminUrl }: GatewayProcess) =>
    (await fetch(`${adminUrl}/readyz`)).status === 200 && (await sample(url, cookie)).status === 200;
  const areWell = async () => (await Promise.all(world.gateways.map(isWell))).every(Boolean);
  // A little more than is promised: the promise is for the test to check.
  for (const deadline = performance.now() + 3 * HEAL_LIMIT_MS; performance.now() < deadline; await sleep(20))
    if (await areWell()) return performance.now();
  const states = world.gateways.map(async ({ adminUrl }) => (await fetch(`${adminUrl}/readyz`)).text());
  throw new Error(`The gateways are not well again: ${await Promise.all(states)}`);
}

/** What there are sessions for. */
const LONGEST_RIDE_MS = LEAD_MS + OUTAGE_MS + CALM_MS + HEAL_LIMIT_MS;

async function startLoads(world: World): Promise<Load[]> {
  const [one, two] = world.gateways.map(({ url }) => url) as [string, string];
  const enoughFor = (perSecond: number) => Math.ceil((LONGEST_RIDE_MS * perSecond) / 1000);
  const rates = {
    known: REQUESTS_PER_SECOND / 2,
    inRedis: REQUESTS_PER_SECOND / 6,
    fresh: REQUESTS_PER_SECOND / 3,
  };
  const known = await world.addSessions(KNOWN_SESSIONS);
  const inRedis = await world.addSessions(enoughFor(rates.inRedis));
  const fresh = await world.addSessions(enoughFor(rates.fresh));
  await warm([one], inRedis);
  await warm([one, two], known);
  return [
    startLoad({
      gateways: [one, two],
      perSecond: rates.known,
      nextCookie: inTurn(known.map(({ cookie }) => cookie)),
    }),
    startLoad({ gateways: [two], perSecond: rates.inRedis, nextCookie: once(inRedis) }),
    startLoad({ gateways: [one, two], perSecond: rates.fresh, nextCookie: once(fresh) }),
  ];
}

/** Each gateway answers for each session; it may take a moment after an outage. */
export async function warm(gateways: readonly string[], sessions: readonly PersonSession[]): Promise<void> {
  const cookies = sessions.map(({ cookie }) => cookie);
  for (const gateway of gateways)
    await expect
      .poll(async () => kindsOf(await sampleAll(gateway, cookies)), { timeout: WARM_WITHIN_MS })
      .toEqual({ '200': cookies.length });
}

/** For a load that lasts: one after the other, over and over. */
export function inTurn(cookies: readonly string[]): () => string | undefined {
  let next = 0;
  return () => cookies[next++ % cookies.length];
}

function once(sessions: readonly PersonSession[]): () => string | undefined {
  let next = 0;
  return () => sessions[next++]?.cookie;
}

function countLog(text: string): LogCount {
  // The last line may have come in part.
  const lines = text.split('\n').slice(0, -1);
  const states: Record<string, number> = {};
  for (const line of lines) {
    const { state } = line.startsWith('{') ? JSON.parse(line) : {};
    if (state) states[state] = (states[state] ?? 0) + 1;
  }
  return { lines: lines.length, states };
}

/** What is reported of a ride, by everybody who took part in it. */
export function figuresOf({ known, inRedis, fresh, backAt, healedAt, logs }: Ride) {
  const all = [...known, ...inRedis, ...fresh];
  const lastFailure = Math.max(
    backAt,
    ...all.filter(({ status }) => status !== 200).map(({ sentAt }) => sentAt),
  );
  return {
    ...tally(all),
    healedMs: Math.round(healedAt - backAt),
    /** From when the store was there again to the last request that failed. */
    lastFailureMs: Math.round(lastFailure - backAt),
    logLines: logs.reduce((sum, { lines }) => sum + lines, 0),
  };
}

/** Those that failed, in words, with the moment counted from when the outage began. */
export function failuresIn({ from }: Ride, samples: readonly Sample[]): string[] {
  return samples
    .filter(({ status }) => status !== 200)
    .map(({ status, code, sentAt, ms, gateway }) => {
      return `${status} ${code} at ${Math.round(sentAt - from)} ms, after ${Math.round(ms)} ms, by ${gateway}`;
    });
}

/** A session's cookie is sent in vain, or soon will be: it takes a moment until the other gateway has heard. */
export async function expectEnded(world: World, { cookie }: PersonSession): Promise<void> {
  for (const { url } of world.gateways)
    await expect
      .poll(() => sample(url, cookie), { interval: 10, timeout: 2000 })
      .toMatchObject({ status: 401, code: 'session-expired' });
}

/** The store is away, says the answer; nothing was done, and nobody is signed out. */
export async function expectUnavailable(response: Response): Promise<void> {
  const { status, headers } = response;
  expect({ status, ...(await response.json()) }).toMatchObject({
    status: 503,
    code: 'session-store-unavailable',
  });
  expect(headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
  expect(headers.getSetCookie()).toEqual([]);
}

/** Once for the outage, and not for every request; on a busy machine a store may be late once more. */
export function expectSaidOnce({ logs }: Ride, state: string): void {
  for (const { states } of logs) {
    expect(states[state], state).toBeGreaterThanOrEqual(1);
    expect(states[state], state).toBeLessThanOrEqual(2);
  }
}

/** Ends a session as its person does. @returns the status */
export async function signOut({ url }: GatewayProcess, { cookie }: PersonSession): Promise<Response> {
  return fetch(`${url}/api/auth/sign-out`, { method: 'POST', headers: { cookie } });
}

let addresses = 0;

/** Signs in with a personal access token, from an address nobody else has: tries are counted. */
export async function signInWithToken(
  { around: { github } }: World,
  { url }: GatewayProcess,
  login = 'octocat',
): Promise<Response> {
  const pat = github.control.issueToken({ login, kind: 'classic', scopes: ['user:email'] });
  addresses++;
  const address = `10.0.${Math.floor(addresses / 250)}.${1 + (addresses % 250)}`;
  return fetch(`${url}/api/auth/pat-signin`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-forwarded-for': address },
    body: JSON.stringify({ pat }),
  });
}

/** The Cookie header of whom an answer has signed in. */
export function cookieHeaderOf(signIn: Response): string {
  const session = signIn.headers.getSetCookie().find((each) => each.startsWith(`${COOKIE}=`));
  return session?.split(';', 1)[0] ?? '';
}

/** How often Postgres was asked about sessions between two moments of `Date.now()`, beside the test's own questions. */
export async function sessionQueries(
  { postgres }: Pick<World, 'postgres'>,
  from: number,
  until: number,
): Promise<{ queries: number; mostInASecond: number }> {
  const log = await readFile(join(postgres.folder, 'server.log'), 'utf8');
  const seconds = new Map<number, number>();
  let queries = 0;
  for (const [, at, statement = ''] of log.matchAll(STATEMENT)) {
    const millis = Number(at) * 1000;
    if (millis < from || millis > until || !statement.includes('"session"')) continue;
    queries++;
    const second = Math.floor(millis / 1000);
    seconds.set(second, (seconds.get(second) ?? 0) + 1);
  }
  return { queries, mostInASecond: Math.max(0, ...seconds.values()) };
}

/** The moment and the text; lines that go on begin with a tab. */
const STATEMENT = /^(\d+\.\d+) LOG: {2}(?:execute|statement)(.*(?:\n\t.*)*)/gm;
