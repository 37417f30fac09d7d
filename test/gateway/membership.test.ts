// Who may sign in, by login, organization or team; and who may stay.
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { Person } from '../../src/demo/github/person.ts';
import { createClient, post, sendToken, signInWithGitHub, signInWithToken } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { UNHURRIED } from '../support/scale.ts';

const config = (signIn: string) => `
upstreams:
  hub: { targets: ["\${UPSTREAM}"], githubToken: forwarded }
routes:
  - { path: /public/**, upstream: hub, access: public }
  - { path: /optional/**, upstream: hub, access: optional }
  - { path: /**, upstream: hub, access: session }
signIn: ${signIn}
`;
const LISTS = 'logins: [Listed, Freed], organizations: [acme], teams: [umbrella/core]';
const ACME = [{ organization: 'Acme' }];
const SCOPES = ['read:user', 'user:email', 'read:org'];

describe.each(['postgres+redis', 'sqlite'] as const)('on %s', (stores) => {
  let gateway: TestGateway;
  let quick: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ stores, config: config(`{ ${LISTS} }`) });
    quick = await startTestGateway({
      stores,
      config: config(`{ ${LISTS}, recheck: 200ms, staleIfError: 3s }`),
    });
  });
  beforeEach(() => {
    gateway.github.control.heal();
    quick.github.control.heal();
  });
  afterAll(async () => {
    await gateway?.close();
    await quick?.close();
  });

  const person = (memberships: Person['memberships'], at = gateway) => addPerson(at.github, { memberships });

  test.each([
    ['of the organization', ACME],
    ['of the team', [{ organization: 'umbrella', teams: ['hr', 'core'] }]],
    [
      'whose organization is on the third page',
      [...Array.from({ length: 250 }, (_each, at) => ({ organization: `org-${at}` })), ...ACME],
    ],
  ])('a member %s signs in, both ways', async (_name, memberships) => {
    const { login } = person(memberships);
    for (const client of [
      (await signInWithGitHub(gateway, login)).client,
      await signInWithToken(gateway, login, SCOPES),
    ])
      expect((await client.fetch('/api/x')).status).toBe(200);
  });

  test('whoever is listed by login signs in without any membership, and GitHub is not asked for one', async () => {
    const { login } = addPerson(gateway.github, { login: 'listed' });
    const before = gateway.github.control.requests.count('GET /user/orgs');
    const { client } = await signInWithGitHub(gateway, login);
    expect((await client.fetch('/api/x')).status).toBe(200);
    expect(gateway.github.control.requests.count('GET /user/orgs')).toBe(before);
    gateway.github.control.reset();
  });

  test.each([
    ['in no organization', []],
    ['in another organization', [{ organization: 'acme-2', teams: ['core'] }]],
    ['invited, but not yet a member', [{ organization: 'acme', state: 'pending' as const }]],
    ['in the organization of the team, but not in the team', [{ organization: 'umbrella', teams: ['hr'] }]],
  ])(
    'somebody %s is refused with what is missing: a page for a browser, a problem for a script',
    async (_name, memberships) => {
      const { id, login } = person(memberships);
      const client = createClient(gateway.url);
      const started = await client.fetch('/api/auth/sign-in/social?provider=github&callbackURL=/api/home');
      const url = started.headers.get('location') ?? '';
      expect(new URL(url).searchParams.get('scope')?.split(' ')).toContain('read:org');
      const page = await client.navigate(await gateway.github.control.authorize({ url, login }));
      expect([page.status, page.headers.get('content-type')]).toEqual([
        403,
        expect.stringContaining('text/html'),
      ]);
      expect(await page.text()).toMatch(/organization acme or the team umbrella\/core/);
      expect(client.cookies.has('better-auth.session_token')).toBe(false);
      const pat = gateway.github.control.issueToken({ login, kind: 'classic', scopes: SCOPES });
      const answer = await sendToken(createClient(gateway.url), pat);
      expect([answer.status, await answer.json()]).toEqual([
        403,
        expect.objectContaining({
          code: 'membership-missing',
          missingOrganizations: ['acme'],
          missingTeams: ['umbrella/core'],
          message: expect.stringContaining('acme'),
        }),
      ]);
      expect(await gateway.store.query(`select * from account where "accountId" = $1`, String(id))).toEqual(
        [],
      );
    },
  );

  test('a token that may not read memberships is told which scope it needs', async () => {
    const { login } = person(ACME);
    const pat = gateway.github.control.issueToken({ login, kind: 'classic', scopes: ['user:email'] });
    const answer = await sendToken(createClient(gateway.url), pat);
    expect([answer.status, (await answer.json()).detail]).toEqual([403, expect.stringContaining('read:org')]);
  });

  test('GitHub that does not tell memberships is GitHub being away, not a refusal', async () => {
    const { login } = person(ACME);
    gateway.github.control.fail('server-error', { path: '/user/teams' });
    const pat = gateway.github.control.issueToken({ login, kind: 'classic', scopes: SCOPES });
    const answer = await sendToken(createClient(gateway.url), pat);
    expect([answer.status, (await answer.json()).code]).toEqual([502, 'github-unavailable']);
  });

  test('whoever leaves is refused within the time of a check, and let in again once they are back', async () => {
    const { login } = person(ACME, quick);
    const { client } = await signInWithGitHub(quick, login);
    expect((await client.fetch('/api/x')).status).toBe(200);
    quick.github.control.setMemberships(login, []);
    await expect.poll(async () => (await client.fetch('/api/x')).status, { timeout: 10_000 }).toBe(403);
    const problem = await client.json('/api/x');
    expect(problem).toMatchObject({
      code: 'membership-missing',
      missingOrganizations: ['acme'],
      reauthUrl: expect.stringContaining('read%3Aorg'),
    });
    const page = await client.navigate('/api/x');
    expect([page.status, page.headers.get('content-type')]).toEqual([
      403,
      expect.stringContaining('text/html'),
    ]);
    // Elsewhere they are nobody; their session is closed to them as well, but they may leave.
    expect((await client.json('/optional/x')).headers).not.toHaveProperty('x-forwarded-user');
    expect((await client.fetch('/public/x')).status).toBe(200);
    for (const path of ['/api/auth/get-session', '/api/user-scopes'])
      expect((await client.json(path)).code, path).toBe('membership-missing');
    quick.github.control.setMemberships(login, ACME);
    await expect.poll(async () => (await client.fetch('/api/x')).status, { timeout: 10_000 }).toBe(200);
    quick.github.control.setMemberships(login, []);
    await expect.poll(async () => (await client.fetch('/api/x')).status, { timeout: 10_000 }).toBe(403);
    expect((await client.fetch('/api/auth/sign-out', post())).status).toBe(200);
  });

  test('GitHub is away at a check: its last answer counts for a while, then nobody is let in on it', async () => {
    const { login } = person(ACME, quick);
    const { client } = await signInWithGitHub(quick, login);
    const { client: leaving } = await signInWithGitHub(quick, login);
    const signedInAt = Date.now();
    quick.github.control.fail('server-error', { path: '/user/**' });
    await expect
      .poll(async () => (await client.fetch('/api/x')).status, { timeout: 15_000, interval: 50 })
      .toBe(503);
    expect(Date.now() - signedInAt).toBeGreaterThan(2500);
    const answer = await client.fetch('/api/x');
    expect([(await answer.json()).code, answer.headers.get('retry-after')]).toEqual([
      'github-unavailable',
      expect.stringMatching(/^\d+$/),
    ]);
    expect(
      (await leaving.fetch('/api/auth/sign-out', post())).status,
      'whoever leaves need not be asked about',
    ).toBe(200);
    quick.github.control.heal();
    await expect.poll(async () => (await client.fetch('/api/x')).status, { timeout: 10_000 }).toBe(200);
  });

  test('whoever takes the authorization back at GitHub is not let in on what was known before', async () => {
    const { login } = person(ACME, quick);
    const { client } = await signInWithGitHub(quick, login);
    quick.github.control.revokeGrant(login);
    await expect.poll(async () => (await client.fetch('/api/x')).status, { timeout: 10_000 }).toBe(403);
    expect(await client.json('/api/x')).toMatchObject({
      code: 'github-access-denied',
      reauthUrl: expect.stringContaining('/api/auth/sign-in/social'),
    });
    const again = await signInWithGitHub(quick, login);
    expect((await again.client.fetch('/api/x')).status).toBe(200);
    expect((await client.fetch('/api/x')).status, 'the person is the same').toBe(200);
  });

  test('while what is known is young, a request asks neither GitHub nor anybody else', async () => {
    const { login } = person(ACME);
    const { client } = await signInWithGitHub(gateway, login);
    await client.fetch('/api/x');
    const before = gateway.github.control.requests.total;
    for (let time = 0; time < 20; time++) expect((await client.fetch('/api/x')).status).toBe(200);
    expect(gateway.github.control.requests.total).toBe(before);
  });

  test('a token of somebody else, put in by another hand, brings no membership along', async () => {
    const { client: theirs } = await signInWithGitHub(quick, person(ACME, quick).login);
    const { login } = person(ACME, quick);
    const { client } = await signInWithGitHub(quick, login);
    const of = async (each: typeof client) =>
      (await each.json<{ headers: Record<string, string> }>('/api/x')).headers['x-forwarded-user'] ?? '';
    const [from, to] = [await of(theirs), await of(client)];
    quick.github.control.setMemberships(login, []);
    await quick.store.query(
      `update account set "accessToken" = (select "accessToken" from account where "userId" = $1) where "userId" = $2`,
      ...[from, to],
    );
    await expect
      .poll(async () => (await client.json<{ code?: string }>('/api/x')).code, { timeout: 10_000 })
      .toBe('membership-missing');
  });

  test('a listed login that was freed brings nothing along for who takes it while signed in', async () => {
    const { login: first } = addPerson(quick.github, { login: 'freed' });
    await signInWithGitHub(quick, first);
    const { login } = person(ACME, quick);
    const { client } = await signInWithGitHub(quick, login);
    quick.github.control.rename(first, `${login}-before`);
    quick.github.control.rename(login, 'freed');
    expect((await client.fetch('/api/user-scopes', { method: 'POST' })).status).toBe(200);
    const { headers } = await client.json<{ headers: Record<string, string> }>('/api/x');
    expect(headers['x-forwarded-preferred-username']).toBe(login);
    quick.github.control.setMemberships('freed', []);
    await expect.poll(async () => (await client.fetch('/api/x')).status, { timeout: 10_000 }).toBe(403);
  });

  test('whoever has no token that GitHub could be asked with signs in again', async () => {
    const { login } = person(ACME);
    const { client } = await signInWithGitHub(gateway, login);
    expect((await client.fetch('/public/x')).status).toBe(200);
    await gateway.store.query(
      `update account set "accessToken" = null where "userId" = (select "userId" from gateway_github_profile where login = $1)`,
      login,
    );
    await expect
      .poll(async () => await (await client.fetch('/api/auth/get-session')).json(), { timeout: 5000 })
      .toMatchObject({ code: 'reauth-required' });
    const again = await signInWithGitHub(gateway, login);
    expect((await again.client.fetch('/api/x')).status).toBe(200);
  });

  test('a person nothing is known of is asked about before the first answer, once', async () => {
    const { id, login } = person(ACME);
    const { client } = await signInWithGitHub(gateway, login);
    const [row] = await gateway.store.query<{ userId: string }>(
      `select "userId" from account where "accountId" = $1`,
      String(id),
    );
    await gateway.store.query(`delete from gateway_github_check where "userId" = $1`, row?.userId ?? '');
    await new Promise((resolve) => setTimeout(resolve, 200));
    const before = gateway.github.control.requests.count('GET /user/orgs');
    const statuses = await Promise.all(
      Array.from({ length: 20 }, async () => (await client.fetch('/api/x')).status),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(gateway.github.control.requests.count('GET /user/orgs')).toBe(before + 1);
  });
});

test(
  'a list that was changed counts for those who are signed in, from the start of the gateway',
  UNHURRIED,
  async () => {
    const first = await startTestGateway({ config: config('{ organizations: [acme] }') });
    onTestFinished(() => first.close());
    const { login } = addPerson(first.github, { memberships: ACME });
    const { client } = await signInWithGitHub(first, login);
    expect((await client.fetch('/api/x')).status).toBe(200);
    const other = await startTestGateway({
      stores: 'sqlite',
      config: config('{ organizations: [umbrella] }'),
    });
    onTestFinished(() => other.close());
    const { GATEWAY_CONFIG } = other.env;
    const second = await first.another({ BETTER_AUTH_URL: first.url, GATEWAY_CONFIG: GATEWAY_CONFIG ?? '' });
    onTestFinished(() => second.close());
    const there = createClient(second.url, client.cookies);
    expect(await there.json('/api/x')).toMatchObject({
      code: 'membership-missing',
      missingOrganizations: ['umbrella'],
    });
  },
);

test(
  'two gateways ask GitHub about a person in turn, and both feel what one has found',
  UNHURRIED,
  async () => {
    const first = await startTestGateway({
      config: config('{ organizations: [acme], recheck: 1s }'),
    });
    onTestFinished(() => first.close());
    const second = await first.another({ BETTER_AUTH_URL: first.url });
    onTestFinished(() => second.close());
    const { login } = addPerson(first.github, { memberships: ACME });
    const { client } = await signInWithGitHub(first, login);
    const there = createClient(second.url, client.cookies);
    for (const each of [client, there]) expect((await each.fetch('/api/x')).status).toBe(200);
    first.github.control.setMemberships(login, []);
    // Only one of them is asked for anything by now.
    await expect.poll(async () => (await client.fetch('/api/x')).status, { timeout: 10_000 }).toBe(403);
    await expect.poll(async () => (await there.fetch('/api/x')).status, { timeout: 2000 }).toBe(403);
  },
);
