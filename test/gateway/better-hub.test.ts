// In front of a Better Hub that is there already: better-auth 1.5.1 in a process of its own, on tables Prisma made. The
// recipe is config/better-hub.yaml. Gateway and application live in time zones of their own.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  type Application,
  makeApplicationTables,
  signInAtApplication,
  signInAtApplicationWithToken,
  startApplication,
} from '../support/application/application.ts';
import {
  type Client,
  cookieHeader,
  createClient,
  post,
  signInWithGitHub,
  signInWithToken,
} from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { scale } from '../support/scale.ts';
import { freePort } from '../support/servers/port.ts';

process.env.TZ = 'America/New_York';
vi.setConfig({ testTimeout: scale({ quick: 90_000, full: 600_000 }), hookTimeout: 120_000 });

const PEOPLE = scale({ quick: 4, full: 200 });
const FELT_WITHIN_MS = 100;
const RECIPE = readFileSync(new URL('../../config/better-hub.yaml', import.meta.url), 'utf8');

let gateway: TestGateway;
let application: Application;
beforeAll(async () => {
  const port = await freePort();
  gateway = await startTestGateway({
    config: RECIPE,
    env: { BETTER_HUB_URL: `http://127.0.0.1:${port}` },
    prepare: ({ DATABASE_URL = '' }) => makeApplicationTables(DATABASE_URL),
  });
  application = await startApplication({
    port,
    databaseUrl: gateway.config.databaseUrl ?? '',
    github: gateway.github,
    publicUrl: gateway.url,
    env: { BETTER_AUTH_SECRET: gateway.config.secrets[0]?.value ?? '', TZ: 'Asia/Tokyo' },
  });
});
afterAll(async () => {
  await application?.close();
  await gateway?.close();
});

/** What the application takes the caller for; the token is the one it has decrypted itself. */
interface Told {
  readonly user?: { id: string; name: string; onboardingDone?: boolean };
  readonly session?: { token: string; expiresAt: string };
  readonly token?: string;
  readonly headers: Record<string, string | undefined>;
}

const told = (client: Client, path = '/api/me') => client.json<Told>(path);
/** The same person's browser, at the other address. */
const at = (url: string, { cookies }: Client) => createClient(url, new Map(cookies));

async function signInAtEither(login: string, number: number, where: 'gateway' | 'application') {
  const { github } = gateway;
  if (where === 'gateway')
    return number % 2 === 0
      ? (await signInWithGitHub(gateway, login)).client
      : signInWithToken(gateway, login, ['repo', 'user:email']);
  return number % 2 === 0
    ? signInAtApplication(application, github, login)
    : signInAtApplicationWithToken(application, github, login);
}

test('sessions and tokens of the application count at the gateway', async (context) => {
  let accepted = 0;
  for (let number = 0; number < PEOPLE; number++) {
    const theirs = await signInAtEither(addPerson(gateway.github).login, number, 'application');
    const before = await told(theirs);
    expect([theirs.cookies.has('better-auth.account_data'), before.token]).toEqual([
      number % 2 === 0,
      expect.stringMatching(number % 2 === 0 ? /^gho_/ : /^ghp_/),
    ]);
    const here = await told(at(gateway.url, theirs));
    expect(here.headers).toMatchObject({
      'x-forwarded-user': before.user?.id,
      'x-forwarded-access-token': before.token,
    });
    // The application goes on believing it, too, and is not told the token by way of a cookie.
    expect([here.user?.id, here.token]).toEqual([before.user?.id, before.token]);
    expect(here.headers.cookie).not.toContain('account_data');
    // The gateway has opened its JWE cookie, or it would not be passed.
    expect(here.headers.cookie).toContain('better-auth.session_data=');
    const known = await at(gateway.url, theirs).json<Told>('/api/auth/get-session');
    expect(known.session?.expiresAt).toBe(before.session?.expiresAt);
    accepted++;
  }
  report(context, { people: PEOPLE, accepted });
  expect(accepted).toBe(PEOPLE);
});

test('sessions and tokens of the gateway count at the application, with and without a JWE cookie', async (context) => {
  let accepted = 0;
  for (let number = 0; number < PEOPLE; number++) {
    const ours = await signInAtEither(addPerson(gateway.github).login, number, 'gateway');
    const { user, session } = await ours.json<Required<Told>>('/api/auth/get-session');
    const days = (Date.parse(session.expiresAt) - Date.now()) / 86_400_000;
    expect(days).toBeCloseTo(7, 2);
    const plain = new Map(ours.cookies);
    plain.delete('better-auth.session_data');
    for (const cookies of [ours.cookies, plain]) {
      const there = await told(createClient(application.url, new Map(cookies)));
      expect(there.user?.id).toBe(user.id);
      expect(there.session?.expiresAt).toBe(session.expiresAt);
      expect(there.token).toMatch(number % 2 === 0 ? /^gho_/ : /^ghp_/);
      expect((await told(ours)).headers['x-forwarded-access-token']).toBe(there.token);
    }
    accepted++;
  }
  report(context, { people: PEOPLE, accepted });
  expect(accepted).toBe(PEOPLE);
});

test('a person of the application who signs in at the gateway is the same person, and the reverse', async () => {
  for (const [first, second] of [
    ['application', 'gateway'],
    ['gateway', 'application'],
  ] as const) {
    const { login } = addPerson(gateway.github);
    const before = await told(at(gateway.url, await signInAtEither(login, 0, first)));
    const after = await told(at(gateway.url, await signInAtEither(login, 1, second)));
    expect(after.user?.id).toBe(before.user?.id);
    expect(after.headers['x-forwarded-access-token']).not.toBe(before.headers['x-forwarded-access-token']);
    expect(after.token).toBe(after.headers['x-forwarded-access-token']);
  }
});

describe('what the application does by itself is felt at the gateway within moments:', () => {
  const felt: Record<string, number> = {};
  /** How long until the gateway answers this way. */
  async function until(condition: () => Promise<boolean>): Promise<number> {
    for (const startedAt = performance.now(); ; await sleep(2)) {
      if (await condition()) return Math.round(performance.now() - startedAt);
      if (performance.now() - startedAt > 10_000) throw new Error('it is not felt');
    }
  }
  const code = async (client: Client) => (await client.json<{ code?: string }>('/api/me')).code;
  const warm = async (client: Client) => {
    const here = at(gateway.url, client);
    for (let time = 0; time < 2; time++) expect((await here.fetch('/api/me')).status).toBe(200);
    return here;
  };
  const order = async (client: Client, path: string, body: unknown = {}) => {
    const init = post(body);
    const headers = { 'content-type': 'application/json', origin: application.url };
    const response = await client.fetch(path, { ...init, headers });
    expect(response.status, `${path}: ${await response.clone().text()}`).toBe(200);
  };
  const note = (context: Parameters<typeof report>[0], what: string, ms: number) => {
    felt[what] = ms;
    report(context, { [`${what}, ms`]: ms });
    expect(ms).toBeLessThanOrEqual(scale({ quick: 20 * FELT_WITHIN_MS, full: FELT_WITHIN_MS }));
  };
  const signedIn = (login = addPerson(gateway.github).login) =>
    signInAtApplication(application, gateway.github, login);

  test('a sign-out', async (context) => {
    const client = await signedIn();
    const here = await warm(client);
    await order(client, '/api/auth/sign-out');
    note(context, 'sign-out', await until(async () => (await code(here)) === 'session-expired'));
  });

  test('a revocation', async (context) => {
    const { login } = addPerson(gateway.github);
    const [laptop, phone] = [await signedIn(login), await signedIn(login)];
    const [here, there] = [await warm(laptop), await warm(phone)];
    await order(laptop, '/api/auth/revoke-other-sessions');
    note(context, 'revocation', await until(async () => (await code(there)) === 'session-expired'));
    expect(await code(here)).toBeUndefined();
  });

  test('a ban, and its end', async (context) => {
    const [admin, person] = [await signedIn(), await signedIn()];
    const adminId = (await told(admin)).user?.id ?? '';
    await gateway.store.query('update "user" set role = $2 where id = $1', adminId, 'admin');
    admin.cookies.delete('better-auth.session_data');
    const here = await warm(person);
    const userId = (await told(person)).user?.id;
    await order(admin, '/api/auth/admin/ban-user', { userId, banReason: 'spam' });
    note(context, 'ban', await until(async () => (await code(here)) === 'user-banned'));
    await order(admin, '/api/auth/admin/unban-user', { userId });
    await until(async () => (await code(here)) === 'session-expired');
  });

  test('a sign-in that replaces the token', async (context) => {
    const { login } = addPerson(gateway.github);
    const here = await warm(await signedIn(login));
    const before = (await told(here)).headers['x-forwarded-access-token'];
    await signInAtApplicationWithToken(application, gateway.github, login);
    const current = async () => (await told(here)).headers['x-forwarded-access-token'];
    note(context, 'token', await until(async () => (await current()) !== before));
    expect(await current()).toMatch(/^ghp_/);
  });
});

describe('the application is told the truth in the cookies it reads:', () => {
  const signedIn = async () => (await signInWithGitHub(gateway, addPerson(gateway.github).login)).client;

  test('a JWE cookie of an ended session opens nothing', async () => {
    const client = await signedIn();
    const replay = createClient(gateway.url, new Map(client.cookies));
    expect((await client.fetch('/api/auth/sign-out', post())).status).toBe(200);
    // By itself the application would go on believing it for seven days.
    expect((await told(createClient(application.url, new Map(replay.cookies)))).user).toBeDefined();
    expect(await told(replay, '/')).toMatchObject({ error: 'Unauthorized', headers: {} });
    expect((await told(replay, '/')).headers.cookie).toBeUndefined();
  });

  test('a JWE cookie of somebody else does not make a person somebody else', async () => {
    const [one, other] = [await signedIn(), await signedIn()];
    const own = (await told(one)).user?.id;
    one.cookies.set('better-auth.session_data', other.cookies.get('better-auth.session_data') ?? '');
    const replay = createClient(gateway.url, new Map(one.cookies));
    expect((await told(createClient(application.url, new Map(one.cookies)))).user?.id).not.toBe(own);
    for (const path of ['/', '/api/me']) expect((await told(replay, path)).user?.id).toBe(own);
  });

  test('a JWE cookie that is true goes up, and one that is out of date does not', async () => {
    const client = await signedIn();
    const replay = createClient(gateway.url, new Map(client.cookies));
    expect((await told(replay)).headers.cookie).toBe(cookieHeader(client.cookies));
    const id = (await told(replay)).user?.id ?? '';
    await gateway.store.query(`update "user" set name = 'Renamed' where id = $1`, id);
    const old = createClient(gateway.url, new Map(client.cookies));
    await expect.poll(async () => (await told(old)).user?.name, { timeout: 5000 }).toBe('Renamed');
  });
});

describe('pages of the application go on working:', () => {
  const from = (origin: string) => ({
    ...post(),
    headers: { 'content-type': 'application/json', origin },
  });

  test('its plugins under /api/auth are its own, errors with their message', async () => {
    const { client } = await signInWithGitHub(gateway, addPerson(gateway.github).login);
    expect(await client.json('/api/auth/subscription/list')).toEqual([{ plan: 'pro' }]);
    const refused = await client.fetch('/api/auth/subscription/upgrade', from(gateway.url));
    expect([refused.status, await refused.json()]).toEqual([
      400,
      expect.objectContaining({ message: 'Subscription not found' }),
    ]);
    const crossSite = await client.fetch('/api/auth/subscription/upgrade', from('https://evil.example'));
    expect(await crossSite.json()).toMatchObject({ code: 'cross-site-request', message: expect.any(String) });
  });

  test('onboardingDone is written, told by get-session and seen by the application at once', async () => {
    const { client } = await signInWithGitHub(gateway, addPerson(gateway.github).login);
    const current = async () => (await client.json<Told>('/api/auth/get-session')).user?.onboardingDone;
    expect([await current(), (await told(client)).user?.onboardingDone]).toEqual([false, false]);
    const updated = await client.fetch('/api/auth/update-user', post({ onboardingDone: true }));
    expect([updated.status, await updated.text()]).toEqual([200, '{"status":true}']);
    expect([await current(), (await told(client)).user?.onboardingDone]).toEqual([true, true]);
  });

  test.each([
    ['of the application alone', { stripeCustomerId: 'cus_1' }, 'No fields to update'],
    ['that is only told', { aiMessageCount: 0 }, 'No fields to update'],
    ['that gives rights', { role: 'admin' }, 'role is not allowed to be set'],
  ])('nobody writes a column %s', async (_what, body, message) => {
    const { client } = await signInWithGitHub(gateway, addPerson(gateway.github).login);
    const refused = await client.fetch('/api/auth/update-user', post(body));
    expect([refused.status, await refused.json()]).toEqual([400, expect.objectContaining({ message })]);
  });
});
