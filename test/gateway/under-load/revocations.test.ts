// Bans, demotions and revocations while many requests of the person are under way: none is served afterwards.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { report } from '../../support/figures.ts';
import { kindsOf, type Sample, sampleAll, startLoad } from '../../support/load.ts';
import { addPerson } from '../../support/person.ts';
import { scale } from '../../support/scale.ts';
import {
  cookieHeaderOf,
  expectUnavailable,
  inTurn,
  signInWithToken,
  startWorld,
  TEST_LIMIT_MS,
  type World,
} from '../../support/under-load.ts';

const REQUESTS_PER_SECOND = scale({ quick: 100, full: 500 });
const SESSIONS = 20;
const MANY_SESSIONS = scale({ quick: 40, full: 200 });
/** From the answer to whoever revokes until no gateway serves the session: measured alone, and beside other tests. */
const FELT_MS = scale({ quick: 1000, full: 100 });
const ADMIN_PATH = '/api/admin/x';

vi.setConfig({ testTimeout: TEST_LIMIT_MS });

let world: World;
let admin: string;
beforeAll(async () => {
  world = await startWorld();
  admin = cookieHeaderOf(await signInWithToken(world, world.gateways[0], 'monalisa'));
});
afterAll(() => world?.close());

const urls = () => world.gateways.map(({ url }) => url);

test.for<[by: string, ban: (userId: string) => Promise<unknown>]>([
  ['by the API', (userId) => post(admin, '/admin/ban-user', { userId })],
  ['by SQL', (userId) => world.query('update "user" set banned = true where id = $1', [userId])],
])(
  'a person is banned %s while they send hundreds of requests a second: none is served later',
  async ([, ban], context) => {
    const { userId, cookies } = await signedIn(SESSIONS);
    const load = startLoad({ gateways: urls(), perSecond: REQUESTS_PER_SECOND, nextCookie: inTurn(cookies) });
    await sleep(1000);
    await ban(userId);
    const bannedAt = performance.now();
    await sleep(1500);
    const samples = await load.stop();

    const after = samples.filter(({ sentAt }) => sentAt >= bannedAt);
    const { late, lastMs } = servedAfter(after, bannedAt);
    report(context, { sent: samples.length, sentAfterBan: after.length, late, lastServedMs: lastMs });
    const refused = after.filter(({ status }) => status !== 200);
    expect(samples.length - after.length).toBeGreaterThan(0);
    expect(refused.length).toBeGreaterThan(0);
    expect(kindsOf(refused)).toEqual({ '403 user-banned': refused.length });
    expect(lastMs).toBeLessThanOrEqual(FELT_MS);
  },
);

test('a role is given and taken: all twenty sessions have it, then none', async (context) => {
  const { userId, cookies } = await signedIn(SESSIONS);
  expect(await answersOf(cookies, ADMIN_PATH)).toEqual({ '403 role-missing': 2 * cookies.length });
  await setRole(userId, 'admin');
  await sleep(FELT_MS);
  expect(await answersOf(cookies, ADMIN_PATH)).toEqual({ '200': 2 * cookies.length });
  await setRole(userId, 'user');
  const lastMs = await lastServed(cookies, ADMIN_PATH);
  report(context, { sessions: cookies.length, stale: 0, lastServedMs: lastMs });
  expect(lastMs).toBeLessThanOrEqual(FELT_MS);
  expect(await answersOf(cookies, ADMIN_PATH)).toEqual({ '403 role-missing': 2 * cookies.length });
});

test('many sign in at once as one person, and end all sessions: none survives', async (context) => {
  const before = new Set(await entries());
  const { cookies, refused } = await signedIn(MANY_SESSIONS);
  expect(await answersOf(cookies)).toEqual({ '200': 2 * cookies.length });
  await post(cookies[0] ?? '', '/revoke-sessions', {});
  const lastMs = await lastServed(cookies);
  const sizes = (await entries())
    .filter((key) => !before.has(key))
    .map((key) => world.redis.cli('STRLEN', key));
  // A mark that a session has ended is one character long.
  const orphans = (await Promise.all(sizes)).filter((size) => Number(size) > 1).length;
  report(context, { signedIn: cookies.length, refused, survivors: 0, orphans, lastServedMs: lastMs });
  expect(orphans).toBe(0);
  expect(lastMs).toBeLessThanOrEqual(FELT_MS);
  expect(await answersOf(cookies)).toEqual({ '401 session-expired': 2 * cookies.length });
});

async function entries(): Promise<string[]> {
  return (await world.redis.cli('KEYS', 'gateway:session:*')) as string[];
}

/** Parallel sign-ins of one person who is nobody else. */
async function signedIn(count: number): Promise<{ userId: string; cookies: string[]; refused: number }> {
  const { login } = addPerson(world.around.github);
  const answers = await Promise.all(
    Array.from({ length: count }, (_, at) => signInWithToken(world, world.gateways[at % 2 ? 1 : 0], login)),
  );
  const cookies = answers.filter(({ ok }) => ok).map(cookieHeaderOf);
  // Sign-ins of one person wait for each other, and not for ever.
  for (const answer of answers) if (!answer.ok) await expectUnavailable(answer);
  const session = await fetch(`${urls()[0]}/api/auth/get-session`, { headers: { cookie: cookies[0] ?? '' } });
  const { user } = (await session.json()) as { user: { id: string } };
  return { userId: user.id, cookies, refused: count - cookies.length };
}

async function post(cookie: string, path: string, body: object): Promise<void> {
  const response = await fetch(`${urls()[0]}/api/auth${path}`, {
    method: 'POST',
    headers: { cookie, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(response.status, await response.text()).toBe(200);
}

const setRole = (userId: string, role: string) => post(admin, '/admin/set-role', { userId, role });

/** What both gateways say to every session. */
async function answersOf(cookies: readonly string[], path?: string): Promise<Record<string, number>> {
  const samples = await Promise.all(urls().map((url) => sampleAll(url, cookies, path)));
  return kindsOf(samples.flat());
}

/** Asks with every session at both gateways until none is served. @returns how long, in ms, one still was */
async function lastServed(cookies: readonly string[], path?: string): Promise<number> {
  const from = performance.now();
  const load = startLoad({
    gateways: urls(),
    perSecond: REQUESTS_PER_SECOND,
    nextCookie: inTurn(cookies),
    path,
  });
  await sleep(FELT_MS + 200);
  return servedAfter(await load.stop(), from).lastMs;
}

/** How many requests were served that were sent after a moment, and how long after it the last of them was sent. */
function servedAfter(samples: readonly Sample[], moment: number): { late: number; lastMs: number } {
  const served = samples.filter(({ status, sentAt }) => status === 200 && sentAt >= moment);
  const last = Math.max(moment, ...served.map(({ sentAt }) => sentAt));
  return { late: served.length, lastMs: Math.round(last - moment) };
}
