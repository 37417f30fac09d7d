// On a database one may not alter, nobody hears what others write: gateways tell each other through Redis what they do
// themselves, and everything else is felt after two seconds.
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Client, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { askRedis } from '../support/redis.ts';
import { scale } from '../support/scale.ts';

/** How long memory is trusted that nobody tells of changes. */
const TRUSTED_MS = 2000;
const TIMES = scale({ quick: 5, full: 100 });

let one: TestGateway;
let two: TestGateway;
beforeAll(async () => {
  one = await startTestGateway({ triggers: false });
  two = await one.another({ BETTER_AUTH_URL: one.url });
  admin = (await signInWithGitHub(one, 'monalisa')).client;
});
afterAll(async () => {
  await two?.close();
  await one?.close();
});

let admin: Client;

const statusOf = async (client: Client) => (await client.fetch('/api/x')).status;

/** Somebody whom the other gateway has in memory from now on. */
async function warmThere() {
  const { client } = await signInWithGitHub(one, addPerson(one.github).login);
  const { user } = await client.json<{ user: { id: string } }>('/api/auth/get-session');
  const there = createClient(two.url, new Map(client.cookies));
  expect(await statusOf(there)).toBe(200);
  return { client, userId: user.id, there, since: performance.now() };
}

/** @returns how long the other gateway went on serving, in ms */
async function untilRefused(there: Client, status: number): Promise<number> {
  const startedAt = performance.now();
  await expect.poll(() => statusOf(there), { interval: 1, timeout: 2 * TRUSTED_MS }).toBe(status);
  return performance.now() - startedAt;
}

const ends: [string, number, (person: { client: Client; userId: string }) => Promise<Response>][] = [
  ['a sign-out', 401, ({ client }) => client.fetch('/api/auth/sign-out', post())],
  ['a revocation of all', 401, ({ client }) => client.fetch('/api/auth/revoke-sessions', post())],
  ['a ban', 403, ({ userId }) => admin.fetch('/api/auth/admin/ban-user', post({ userId }))],
];

test.for(ends)('%s at one gateway is felt at the other at once', async ([, status, end], context) => {
  const lags: number[] = [];
  for (let time = 0; time < TIMES; time++) {
    const person = await warmThere();
    expect((await end(person)).status).toBe(200);
    const lag = await untilRefused(person.there, status);
    // What ran out by itself proves nothing.
    if (performance.now() - person.since < TRUSTED_MS) lags.push(lag);
  }
  report(context, { told: lags.length, slowestMs: Math.round(Math.max(...lags)) });
  expect(lags.length).toBeGreaterThan(TIMES / 2);
});

test('what plain SQL ends is felt after two seconds', async () => {
  const { userId, there } = await warmThere();
  await one.store.query('delete from session where "userId" = $1', userId);
  expect(await untilRefused(there, 401)).toBeLessThan(TRUSTED_MS + 1000);
});

describe('a gateway that may not subscribe or publish', () => {
  test('deletes what is in Redis all the same', async () => {
    const { redisUrl } = one.config;
    const user = ['ACL', 'SETUSER', 'gateway-without-news'] as const;
    await askRedis(redisUrl ?? '', ...user, 'on', '>password', '~*', '+@all', 'resetchannels');
    onTestFinished(async () => void (await askRedis(redisUrl ?? '', 'ACL', 'DELUSER', user[2])));
    const url = new URL(redisUrl ?? '');
    [url.username, url.password] = [user[2], 'password'];
    const deaf = await one.another({ BETTER_AUTH_URL: one.url, REDIS_URL: url.href });
    onTestFinished(() => deaf.close());
    const { client } = await signInWithGitHub(one, addPerson(one.github).login);
    const here = createClient(deaf.url, client.cookies);
    expect(await statusOf(here)).toBe(200);
    expect((await here.fetch('/api/auth/sign-out', post())).status).toBe(200);
    expect(await statusOf(here)).toBe(401);
    expect(deaf.logLines().filter((line) => line.includes('redis-unavailable'))).toEqual([]);
  });
});

test('the log and the metric say that changes are not heard', async () => {
  const said = one.logLines().filter((line) => line.includes('"state":"changes-unheard"'));
  expect(said).toHaveLength(1);
  const metrics = await (await fetch(`${one.adminUrl}/metrics`)).text();
  expect(metrics).toContain('gateway_degraded{state="changes-unheard"} 1');
});
