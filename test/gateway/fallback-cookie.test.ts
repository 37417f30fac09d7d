// The JWE cookie: the last rung, for the time when no store answers, and of no use before and after.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient, post, signInWithToken } from '../support/browser-like.ts';
import { DEFAULT_CONFIG, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';

/** How long before a cookie was made a change may be missing from it, and how long hearing may lag behind. */
const UNCERTAIN_MS = 2000;
const PROBE_MS = 1000;
const CONFIG = (fallback: string) => `${DEFAULT_CONFIG}sessions: { cookieFallback: ${fallback} }\n`;

let postgres: PostgresServer;
let redis: RedisServer;
let one: TestGateway;
let other: TestGateway;
beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
  const env = { DATABASE_URL: postgres.url, REDIS_URL: redis.url };
  one = await startTestGateway({ stores: 'sqlite', env, config: CONFIG('60s') });
  other = await one.another();
});
afterAll(async () => {
  await other?.close();
  await one?.close();
  await Promise.all([postgres?.close(), redis?.close()]);
});

describe('while no store answers', () => {
  test('a young cookie opens what needs neither token nor scopes; all else is 503; nobody is signed out', async () => {
    const client = await withGoodCookie('octocat');
    const stranger = await withGoodCookie('hubot');
    const mixed = new Map([...client.cookies, ...jweOf(stranger)]);
    const bare = new Map([...client.cookies].filter(([name]) => !name.includes('session_data')));
    const at = (path: string, cookies = client.cookies) => createClient(other.url, cookies).fetch(path);

    await duringOutage(async () => {
      const answer = await at('/plain/x');
      expect(answer.status, await answer.clone().text()).toBe(200);
      expect(one.upstream.seen.at(-1)?.headers).toMatchObject({
        'x-forwarded-email': 'octocat@example.com',
        'x-forwarded-groups': 'user',
      });
      const refused = {
        'an upstream that asks for the token': await at('/api/x'),
        'a route with scopes': await at('/api/repos/x'),
        'user-scopes': await at('/api/user-scopes'),
        'get-session': await at('/api/auth/get-session'),
        'without the cookie': await at('/plain/x', bare),
        "with another's": await at('/plain/x', mixed),
        'with a tampered one': await at('/plain/x', tampered(client)),
      };
      for (const [what, { status, headers }] of Object.entries(refused))
        expect([what, status, headers.getSetCookie()]).toEqual([what, 503, []]);
      expect((await at('/api/admin/x')).status, 'a role the cookie does tell').toBe(403);
    });
    await expect.poll(async () => (await at('/api/x')).status, { timeout: 5000 }).toBe(200);
  });

  test('it opens nothing after its session was signed out, or its person changed', async () => {
    const client = await withGoodCookie('octocat');
    const replay = new Map(client.cookies);
    const changed = await withGoodCookie('hubot');
    expect((await client.fetch('/api/auth/sign-out', post())).status).toBe(200);
    await one.store.query(`update "user" set role = 'admin' where email like 'hubot%'`);
    await sleep(PROBE_MS);
    await duringOutage(async () => {
      for (const gateway of [one, other])
        for (const cookies of [replay, changed.cookies]) {
          const answer = await createClient(gateway.url, cookies).fetch('/plain/y');
          expect(answer.status).not.toBe(200);
        }
    });
  });

  test('a gateway that was not there when it was made does not believe it', async () => {
    const client = await withGoodCookie('octocat');
    const late = await one.another();
    try {
      await duringOutage(async () => {
        const answer = await createClient(late.url, client.cookies).fetch('/plain/x');
        expect(answer.status).toBe(503);
      });
    } finally {
      await late.close();
    }
  });

  test('while Redis still answers it is not believed', async () => {
    const client = await withGoodCookie('monalisa');
    await redis.stop();
    await redis.start();
    await healthy();
    await postgres.kill();
    try {
      // A first question finds the entry gone with the restart.
      const answer = await createClient(other.url, client.cookies).fetch('/plain/x');
      expect(answer.status).toBe(503);
    } finally {
      await postgres.start();
      await healthy();
    }
  });
});

test('proxied answers renew it before it is too old, once, and for those only who have one', async () => {
  const env = { DATABASE_URL: postgres.url, REDIS_URL: redis.url };
  const gateway = await startTestGateway({ stores: 'sqlite', env, config: CONFIG('6s') });
  try {
    const client = await signInWithToken(gateway);
    const bare = createClient(
      gateway.url,
      new Map([...client.cookies].filter(([name]) => name.endsWith('session_token'))),
    );
    const before = jweOf(client);
    await sleep(3100);
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.fetch('/plain/x')));
    const renewing = answers.filter((answer) => answer.headers.getSetCookie().length > 0);
    expect(renewing.map((answer) => [answer.status, answer.headers.get('cache-control')])).toEqual([
      [200, 'private, no-store'],
    ]);
    expect(jweOf(client)).not.toEqual(before);
    expect((await bare.fetch('/plain/x')).headers.getSetCookie()).toEqual([]);
    expect((await client.fetch('/plain/x')).headers.getSetCookie()).toEqual([]);
  } finally {
    await gateway.close();
  }
});

test('a route that only reports renews it for nobody whom the lists keep out', async () => {
  const config = `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes:
  - { path: /trial/**, upstream: hub, reportOnly: true }
  - { path: /**, upstream: hub }
sessions: { cookieFallback: 6s }
signIn: { organizations: [acme], recheck: 200ms }
`;
  const env = { DATABASE_URL: postgres.url, REDIS_URL: redis.url };
  const gateway = await startTestGateway({ stores: 'sqlite', env, config });
  try {
    const join = async () => {
      const { login } = addPerson(gateway.github, { memberships: [{ organization: 'acme' }] });
      return { login, client: await signInWithToken(gateway, login, ['user:email', 'read:org']) };
    };
    const [{ login, client: left }, { client: member }] = [await join(), await join()];
    gateway.github.control.setMemberships(login, []);
    await expect.poll(async () => (await left.fetch('/x')).status, { timeout: 10_000 }).toBe(403);
    await sleep(3100);
    const lines = async (client: Client) => {
      const { status, headers } = await client.fetch('/trial/x');
      return [status, headers.getSetCookie().some((line) => line.includes('session_data'))];
    };
    expect([await lines(member), await lines(left)]).toEqual([
      [200, true],
      [200, false],
    ]);
  } finally {
    await gateway.close();
  }
});

/** Signed in at one gateway, with a cookie in which everything is that was heard until now. */
async function withGoodCookie(login: string): Promise<Client> {
  const client = await signInWithToken(one, login);
  const first = jweOf(client);
  await expect
    .poll(
      async () => {
        await client.fetch('/plain/x');
        return jweOf(client);
      },
      { timeout: 4 * UNCERTAIN_MS, interval: 200 },
    )
    .not.toEqual(first);
  await sleep(PROBE_MS + 100);
  return client;
}

function jweOf(client: Client): [string, string][] {
  return [...client.cookies].filter(([name]) => name.includes('session_data'));
}

function tampered(client: Client): Map<string, string> {
  const changed = jweOf(client).map(([name, value]) => [name, `${value.slice(0, -3)}AAA`] as const);
  return new Map([...client.cookies, ...changed]);
}

async function duringOutage(work: () => Promise<void>): Promise<void> {
  await Promise.all([postgres.kill(), redis.kill()]);
  try {
    await work();
  } finally {
    await Promise.all([postgres.start(), redis.start()]);
    await healthy();
  }
}

async function healthy(): Promise<void> {
  for (const { adminUrl } of [one, other])
    await expect
      .poll(async () => (await fetch(`${adminUrl}/readyz`)).status, { timeout: 10_000, interval: 50 })
      .toBe(200);
}
