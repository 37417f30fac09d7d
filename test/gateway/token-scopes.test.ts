// What a token may do is asked again when its owner wants to know; and who lacks a scope finds the way back.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createClient, post, sendToken, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { UNHURRIED } from '../support/scale.ts';

const PATH = '/api/user-scopes';
const POST = { method: 'POST' };

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterEach(() => gateway.github.control.heal());
afterAll(() => gateway?.close());

async function withToken(scopes: string[] = ['user:email']) {
  const { login } = addPerson(gateway.github);
  const token = gateway.github.control.issueToken({ login, kind: 'classic', scopes });
  const client = createClient(gateway.url);
  // A busy machine may have the gateway refuse it for a moment.
  await expect.poll(async () => (await sendToken(client, token)).status, { timeout: 10_000 }).toBe(200);
  return { login, token, client };
}

test(
  'scopes that were changed at GitHub count once they are asked for, at every gateway',
  UNHURRIED,
  async () => {
    const second = await gateway.another({ BETTER_AUTH_URL: gateway.url });
    try {
      const { token, client } = await withToken();
      const there = createClient(second.url, client.cookies);
      expect((await there.fetch('/api/workflows/1')).status).toBe(403);
      gateway.github.control.setScopes(token, ['workflow', 'user:email']);
      expect(await client.json(PATH)).toEqual({ scopes: ['user:email'] });
      expect(await client.json(PATH, POST)).toEqual({ scopes: ['user:email', 'workflow'] });
      expect(await client.json(PATH)).toEqual({ scopes: ['user:email', 'workflow'] });
      await expect
        .poll(async () => (await there.fetch('/api/workflows/1')).status, { timeout: 2000 })
        .toBe(200);
      gateway.github.control.setScopes(token, []);
      expect(await there.json(PATH, POST)).toEqual({ scopes: [] });
      await expect
        .poll(async () => (await client.fetch('/api/workflows/1')).status, { timeout: 2000 })
        .toBe(403);
    } finally {
      await second.close();
    }
  },
);

test('scopes that GitHub does not list are not known afterwards, either', async () => {
  const { login } = addPerson(gateway.github);
  const client = createClient(gateway.url);
  await sendToken(client, gateway.github.control.issueToken({ login, kind: 'fine-grained' }));
  expect(await client.json(PATH, POST)).toEqual({ scopes: [], known: false });
});

test('a login that was changed at GitHub is known afterwards', async () => {
  const { login, client } = await withToken();
  gateway.github.control.rename(login, `${login}-renamed`);
  await client.fetch(PATH, POST);
  const { headers } = await client.json<{ headers: Record<string, string> }>('/api/x');
  expect(headers['x-forwarded-preferred-username']).toBe(`${login}-renamed`);
});

test('a token that is dead is said to be, here and on the routes that need it', async () => {
  const { token, client } = await withToken();
  gateway.github.control.revoke(token);
  const refused = await client.fetch(PATH, POST);
  expect([refused.status, await refused.json()]).toEqual([
    403,
    expect.objectContaining({ code: 'github-access-denied', reauthUrl: expect.stringContaining('sign-in') }),
  ]);
  expect((await client.fetch('/api/x')).status).toBe(403);
});

test('GitHub is away: what is known stays', async () => {
  const { client } = await withToken();
  gateway.github.control.fail('server-error', { path: '/user' });
  const answer = await client.fetch(PATH, POST);
  expect([answer.status, (await answer.json()).code]).toEqual([502, 'github-unavailable']);
  expect(await client.json(PATH)).toEqual({ scopes: ['user:email'] });
  gateway.github.control.heal();
  // GitHub is left alone for a moment.
  await expect
    .poll(async () => (await client.fetch(PATH, POST)).status, { interval: 300, timeout: 5000 })
    .toBe(200);
});

test('ten times a minute, by the person alone', async () => {
  const { client } = await withToken();
  const foreign = { headers: { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' } };
  expect((await client.fetch(PATH, { ...POST, ...foreign })).status).toBe(403);
  expect((await createClient(gateway.url).fetch(PATH, POST)).status).toBe(401);
  expect((await client.fetch(PATH, { method: 'PUT' })).headers.get('allow')).toBe('GET, POST');
  const before = gateway.github.control.requests.count('GET /user');
  const statuses = [];
  for (let time = 0; time < 12; time++) statuses.push((await client.fetch(PATH, POST)).status);
  expect(statuses).toEqual([...Array(10).fill(200), 429, 429]);
  expect(gateway.github.control.requests.count('GET /user')).toBe(before + 10);
  const { client: other } = await withToken();
  expect((await other.fetch(PATH, POST)).status).toBe(200);
});

test('an administrator who acts as somebody else does not have GitHub asked about them', async () => {
  const { client: person } = await withToken();
  const { user } = await person.json<{ user: { id: string } }>('/api/auth/get-session');
  const { client } = await signInWithGitHub(gateway, 'monalisa');
  expect((await client.fetch('/api/auth/admin/impersonate-user', post({ userId: user.id }))).status).toBe(
    200,
  );
  expect(await client.json(PATH)).toEqual({ scopes: ['user:email'] });
  expect(await client.json(PATH, POST)).toMatchObject({ code: 'impersonation-read-only' });
});

test.each([
  ['what a person navigated to', true, undefined, '/api/workflows/1?x=1'],
  ['the page whose script asked', false, '/board?tab=2', '/board?tab=2'],
  ['what was asked for, where no page is known', false, undefined, '/api/workflows/1?x=1'],
  ['what was asked for, and not another site', false, 'https://evil.example/', '/api/workflows/1?x=1'],
])(
  'a missing scope: the link asks for the union and comes back to %s',
  async (_name, navigates, referer, back) => {
    const { client } = await withToken(['user:email', 'gist']);
    const page = referer?.startsWith('/') ? `${gateway.url}${referer}` : referer;
    const response = navigates
      ? await client.navigate('/api/workflows/1?x=1')
      : await client.fetch('/api/workflows/1?x=1', page === undefined ? {} : { headers: { referer: page } });
    const { code, grantUrl } = (await response.json()) as { code: string; grantUrl: string };
    expect(code).toBe('scope-missing');
    const link = new URL(grantUrl);
    expect(link.searchParams.get('callbackURL')).toBe(back);
    expect(link.searchParams.get('scopes')?.split(',').sort()).toEqual(['gist', 'user:email', 'workflow']);
  },
);

test('a missing scope on a request that cannot be repeated by a link leads back to the start', async () => {
  const { client } = await withToken();
  const { grantUrl } = await client.json<{ grantUrl: string }>('/api/workflows/1', POST);
  expect(new URL(grantUrl).searchParams.get('callbackURL')).toBe('/');
});
