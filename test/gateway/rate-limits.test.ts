// Limits of routes: by person, by address, by both; over several gateways; and while Redis is away.
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { dumpRedis, type RedisServer, startRedis } from '../support/redis.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { send } from '../support/send.ts';

const REQUESTS = scale({ quick: 300, full: 10_000 });
const CONFIG = `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes:
  - { path: /person/**, upstream: hub, access: session, rateLimit: { requests: 3, per: 1h } }
  - { path: /address/**, upstream: hub, access: public, rateLimit: { requests: 3, per: 1h, by: address } }
  - { path: /both/**, upstream: hub, access: optional, rateLimit: { requests: 3, per: 1h, by: both } }
  - { path: /short/**, upstream: hub, access: public, rateLimit: { requests: 1, per: 1s } }
  - { path: /methods/**, methods: [GET], upstream: hub, access: public, rateLimit: { requests: 1, per: 1h } }
  - { path: /methods/**, methods: [POST], upstream: hub, access: public, rateLimit: { requests: 1, per: 1h } }
  - { path: /admins/**, upstream: hub, access: { roles: [admin] }, rateLimit: { requests: 1, per: 1h } }
  - { path: /exact/**, upstream: hub, access: public, rateLimit: { requests: ${REQUESTS}, per: 1h, by: address } }
  - { path: /free/**, upstream: hub, access: public }
trustedProxies: [127.0.0.0/8]
`;

let addresses = 0;
const newAddress = () => `10.9.${Math.floor(addresses / 250)}.${1 + (addresses++ % 250)}`;

/** Statuses, one after the other. */
async function statuses(gateway: TestGateway, count: number, path: string, headers: Record<string, string>) {
  const seen: number[] = [];
  for (let sent = 0; sent < count; sent++)
    seen.push((await send(`${gateway.url}${path}`, { headers })).status);
  return seen;
}

describe.each(['postgres+redis', 'sqlite'] as const)('on %s', (stores) => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ stores, config: CONFIG, logLevel: 'warn' });
  });
  afterAll(() => gateway.close());

  const signIn = async () => {
    const { client } = await signInWithGitHub(gateway, addPerson(gateway.github).login);
    const cookie = [...client.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    return (from = newAddress()) => ({ cookie, 'x-forwarded-for': from });
  };

  test('a person is limited, whatever address they come from; others are not', async () => {
    const [person, other] = [await signIn(), await signIn()];
    const seen: number[] = [];
    for (let sent = 0; sent < 5; sent++) seen.push(...(await statuses(gateway, 1, '/person/x', person())));
    expect(seen).toEqual([200, 200, 200, 429, 429]);
    expect(await statuses(gateway, 1, '/person/x', other())).toEqual([200]);
    expect(await statuses(gateway, 1, '/free/x', person())).toEqual([200]);
  });

  test('a refusal tells the limit, and when to come back', async () => {
    const headers = { 'x-forwarded-for': newAddress() };
    await statuses(gateway, 3, '/address/x', headers);
    const refused = await send(`${gateway.url}/address/x`, { headers });
    expect(refused.status).toBe(429);
    expect(refused.headers.get('ratelimit-limit')).toBe('3');
    expect(refused.headers.get('ratelimit-remaining')).toBe('0');
    for (const name of ['ratelimit-reset', 'retry-after']) {
      const seconds = Number(refused.headers.get(name));
      expect(seconds, name).toBeGreaterThan(3500);
      expect(seconds, name).toBeLessThanOrEqual(3600);
    }
    expect(await refused.json()).toMatchObject({ code: 'rate-limited', status: 429 });
  });

  test('an address is limited, an IPv6 one with its /64, in whatever spelling and case of the path', async () => {
    const spellings = ['2001:db8:5::1', '2001:DB8:5:0::2', '2001:db8:5:0:ffff::3', '2001:db8:5::4'];
    const seen: number[] = [];
    for (const [at, from] of spellings.entries())
      seen.push(
        ...(await statuses(gateway, 1, at % 2 ? '/ADDRESS/x' : '/address/y', { 'x-forwarded-for': from })),
      );
    expect(seen).toEqual([200, 200, 200, 429]);
    expect(await statuses(gateway, 1, '/address/x', { 'x-forwarded-for': '2001:db8:6::1' })).toEqual([200]);
  });

  test('entries of X-Forwarded-For that clients write themselves change nothing', async () => {
    const from = newAddress();
    const seen: number[] = [];
    for (let sent = 0; sent < 4; sent++)
      seen.push(
        ...(await statuses(gateway, 1, '/address/x', { 'x-forwarded-for': `${newAddress()}, ${from}` })),
      );
    expect(seen).toEqual([200, 200, 200, 429]);
  });

  test('by both: a person from many addresses, and many from one address, are limited', async () => {
    const [person, other] = [await signIn(), await signIn()];
    const seen: number[] = [];
    for (let sent = 0; sent < 4; sent++) seen.push(...(await statuses(gateway, 1, '/both/x', person())));
    expect(seen).toEqual([200, 200, 200, 429]);
    const from = newAddress();
    expect(await statuses(gateway, 2, '/both/x', { 'x-forwarded-for': from })).toEqual([200, 200]);
    expect(await statuses(gateway, 2, '/both/x', other(from))).toEqual([200, 429]);
  });

  test('the limit is over when its time is', async () => {
    const headers = { 'x-forwarded-for': newAddress() };
    expect(await statuses(gateway, 2, '/short/x', headers)).toEqual([200, 429]);
    await expect
      .poll(() => statuses(gateway, 1, '/short/x', headers), { timeout: 5000, interval: 100 })
      .toEqual([200]);
  });

  test('routes of one path and different methods count apart', async () => {
    const headers = { 'x-forwarded-for': newAddress() };
    expect(await statuses(gateway, 2, '/methods/x', headers)).toEqual([200, 429]);
    expect((await send(`${gateway.url}/methods/x`, { method: 'POST', headers })).status).toBe(200);
    expect((await send(`${gateway.url}/methods/x`, { method: 'POST', headers })).status).toBe(429);
  });

  test('429 comes last: who may not pass is told so, and is not counted', async () => {
    const person = await signIn();
    expect(await statuses(gateway, 3, '/admins/x', person())).toEqual([403, 403, 403]);
    expect(await statuses(gateway, 3, '/admins/x', { 'x-forwarded-for': newAddress() })).toEqual([
      401, 401, 401,
    ]);
  });

  test('starts of a sign-in are limited by address, faulty ones aside', UNHURRIED, async () => {
    const start = async (path: string, from: string, body: unknown = { provider: 'github' }) =>
      (
        await send(`${gateway.url}${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'x-forwarded-for': from },
          body: JSON.stringify(body),
        })
      ).status;
    const path = '/api/auth/sign-in/social';
    expect(
      await start(path, '2001:db8:7::1', { provider: 'github', callbackURL: 'https://evil.example' }),
    ).toBe(400);
    const counts = new Map<number, number>();
    for (let sent = 0; sent < 310; sent++) {
      const status = await start(path, `2001:db8:7::${sent.toString(16)}`);
      counts.set(status, (counts.get(status) ?? 0) + 1);
    }
    expect(Object.fromEntries(counts)).toEqual({ 200: 300, 429: 10 });
    expect(await start(path, '2001:db8:8::1')).toBe(200);
  });
});

test('two gateways on one Redis count together, exact within 1 %', UNHURRIED, async (context) => {
  const gateway = await startTestGateway({ config: CONFIG, logLevel: 'warn' });
  const second = await gateway.another();
  onTestFinished(async () => {
    await second.close();
    await gateway.close();
  });
  const headers = { 'x-forwarded-for': newAddress() };
  const counts = { passed: 0, refused: 0 };
  const total = Math.ceil(REQUESTS * 1.3);
  let sent = 0;
  const askOnAndOn = async (url: string) => {
    while (sent++ < total)
      if ((await send(`${url}/exact/x`, { headers })).status === 200) counts.passed++;
      else counts.refused++;
  };
  await Promise.all([gateway, gateway, gateway, second, second, second].map(({ url }) => askOnAndOn(url)));
  report(context, { limit: REQUESTS, passed: counts.passed, refused: counts.refused });
  expect(Math.abs(counts.passed - REQUESTS)).toBeLessThanOrEqual(REQUESTS / 100);
  expect(await dumpRedis(gateway.config.redisUrl as string)).not.toMatch(/session_token|gho_/);
});

describe('while Redis is away', () => {
  let redis: RedisServer;
  let gateway: TestGateway;
  beforeAll(async () => {
    redis = await startRedis();
    gateway = await startTestGateway({
      stores: 'postgres',
      config: CONFIG,
      env: { REDIS_URL: redis.url },
      logLevel: 'warn',
    });
  });
  afterAll(async () => {
    await gateway.close();
    await redis.stop();
  });

  test('proxied requests pass uncounted, sign-in with a token is 503, starts are still limited', async () => {
    await redis.stop();
    const headers = { 'x-forwarded-for': newAddress() };
    expect(await statuses(gateway, 5, '/address/x', headers)).toEqual([200, 200, 200, 200, 200]);
    const pat = await createClient(gateway.url).fetch('/api/auth/pat-signin', post({ pat: 'ghp_x' }));
    expect([pat.status, (await pat.json()).code]).toEqual([503, 'session-store-unavailable']);
    let last = 0;
    for (let sent = 0; sent < 301; sent++)
      last = (await send(`${gateway.url}/api/auth/sign-in/social?provider=github&callbackURL=/`, { headers }))
        .status;
    expect(last).toBe(429);
    await redis.start();
    await expect
      .poll(() => statuses(gateway, 4, '/address/x', headers), { timeout: 10_000 })
      .toEqual([429, 429, 429, 429]);
  });
});
