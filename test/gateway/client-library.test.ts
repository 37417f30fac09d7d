// Better Auth's own client against the gateway, as an application's pages would use it.
import { createAuthClient } from 'better-auth/client';
import { adminClient } from 'better-auth/client/plugins';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';

describe.each(['postgres+redis', 'sqlite'] as const)("Better Auth's client, on %s", (stores) => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ stores });
  });
  afterAll(() => gateway.close());

  /** The library in a browser of its own: its cookies, and the Origin of the gateway's pages. */
  const libraryOf = (browser: Client) =>
    createAuthClient({
      baseURL: gateway.url,
      plugins: [adminClient()],
      fetchOptions: {
        customFetchImpl: (input, init) => {
          const headers = new Headers(init?.headers);
          headers.set('origin', gateway.url);
          return browser.fetch(String(input), { ...init, headers });
        },
      },
    });

  const openBrowser = () => {
    const browser = createClient(gateway.url);
    return { browser, library: libraryOf(browser) };
  };

  const signIn = async (login = addPerson(gateway.github).login, scopes?: string[]) => {
    const opened = openBrowser();
    const started = await opened.library.signIn.social({
      provider: 'github',
      callbackURL: '/api/home',
      scopes,
    });
    expect(started.error).toBeNull();
    const url = String(started.data?.url);
    const landed = await opened.browser.fetch(await gateway.github.control.authorize({ url, login }));
    expect(landed.status).toBe(302);
    expect(landed.headers.get('location')).toMatch(/\/api\/home$/);
    const { data } = await opened.library.getSession();
    if (!data) throw new Error(`${login} is not signed in`);
    return { ...opened, login, user: data.user, session: data.session };
  };
  const statusOf = async (browser: Client, path = '/api/x') => (await browser.fetch(path)).status;
  const announced = async (browser: Client) =>
    (await browser.json<{ headers: Record<string, string> }>('/api/x')).headers;

  test('signs a person in, knows the session, and signs out', async () => {
    const { browser, library, user, session, login } = await signIn();
    expect(user).toMatchObject({ email: `${login}@example.net`, emailVerified: true, role: 'user' });
    expect(session.userId).toBe(user.id);
    expect(session.expiresAt).toBeInstanceOf(Date);
    expect(await announced(browser)).toMatchObject({
      'x-forwarded-user': user.id,
      'x-forwarded-preferred-username': login,
    });
    const { data } = await library.signOut();
    expect(data).toEqual({ success: true });
    expect((await library.getSession()).data).toBeNull();
    expect(await statusOf(browser)).toBe(401);
  });

  test('asks GitHub for further scopes', async () => {
    const { browser } = await signIn(undefined, ['workflow']);
    expect(await browser.json('/api/user-scopes')).toEqual({
      scopes: ['public_repo', 'read:user', 'user:email', 'workflow'],
    });
  });

  test('gets no session, and no error, for who is not signed in', async () => {
    const { library } = openBrowser();
    expect(await library.getSession()).toMatchObject({ data: null, error: null });
    const listed = await library.listSessions();
    expect([listed.data, listed.error?.status]).toEqual([null, 401]);
  });

  test('lists the sessions of the person and ends one of them', async () => {
    const { login } = addPerson(gateway.github);
    const laptop = await signIn(login);
    const phone = await signIn(login);
    await signIn();
    const { data } = await laptop.library.listSessions();
    expect(data?.map(({ id }) => id).sort()).toEqual([laptop.session.id, phone.session.id].sort());
    const revoked = await laptop.library.revokeSession({ token: phone.session.token });
    expect(revoked.data).toEqual({ status: true });
    expect(await statusOf(phone.browser)).toBe(401);
    expect((await phone.library.getSession()).data).toBeNull();
    expect(await statusOf(laptop.browser)).toBe(200);
    expect((await laptop.library.listSessions()).data).toHaveLength(1);
  });

  test('ends no session of somebody else', async () => {
    const [mine, theirs] = [await signIn(), await signIn()];
    await mine.library.revokeSession({ token: theirs.session.token });
    expect(await statusOf(theirs.browser)).toBe(200);
  });

  test('ends all other sessions, and then all', async () => {
    const { login } = addPerson(gateway.github);
    const [first, second, third] = [await signIn(login), await signIn(login), await signIn(login)];
    expect((await second.library.revokeOtherSessions()).data).toEqual({ status: true });
    expect(await Promise.all([first, second, third].map(({ browser }) => statusOf(browser)))).toEqual([
      401, 200, 401,
    ]);
    expect((await second.library.revokeSessions()).data).toEqual({ status: true });
    expect(await statusOf(second.browser)).toBe(401);
  });

  test('changes the name of the person, not their role', async () => {
    const { browser, library, user } = await signIn();
    expect((await library.updateUser({ name: 'Somebody Else' })).error).toBeNull();
    expect((await library.getSession()).data?.user).toMatchObject({ id: user.id, name: 'Somebody Else' });
    const { error } = await library.updateUser({ role: 'admin' } as object);
    expect(error?.status).toBeGreaterThanOrEqual(400);
    expect(await announced(browser)).toMatchObject({ 'x-forwarded-groups': 'user' });
  });

  test('keeps no token of GitHub where a page could read it', async () => {
    const { browser, library } = await signIn();
    const accounts = await library.listAccounts();
    const told = [await library.getSession(), await library.listSessions(), accounts];
    expect(told.map(({ error }) => error)).toEqual([null, null, null]);
    expect(JSON.stringify([told, ...browser.cookies])).not.toMatch(/gh[opu]_|"v1\./);
    // Routed like any path: nothing of ours answers there.
    const accountId = String(accounts.data?.[0]?.id);
    expect((await library.getAccessToken({ accountId })).data).not.toHaveProperty('accessToken');
  });

  describe('in the hands of an administrator', () => {
    const admin = () => signIn('monalisa');

    test('lists people, and finds one by e-mail', async () => {
      const [{ library, user }, someone] = [await admin(), await signIn()];
      const { data } = await library.admin.listUsers({ query: { limit: 1000 } });
      expect(data?.users.map(({ id }) => id)).toEqual(expect.arrayContaining([user.id, someone.user.id]));
      const query = {
        searchField: 'email',
        searchOperator: 'contains',
        searchValue: someone.user.email,
      } as const;
      const found = await library.admin.listUsers({ query });
      expect(found.data?.users.map(({ id }) => id)).toEqual([someone.user.id]);
    });

    test('gives and takes a role', async () => {
      const [{ library }, { user, browser }] = [await admin(), await signIn()];
      expect(await statusOf(browser, '/api/admin/x')).toBe(403);
      const given = await library.admin.setRole({ userId: user.id, role: 'admin' });
      expect(given.data?.user.role).toBe('admin');
      expect(await statusOf(browser, '/api/admin/x')).toBe(200);
      await library.admin.setRole({ userId: user.id, role: 'user' });
      expect(await statusOf(browser, '/api/admin/x')).toBe(403);
    });

    test('bans with reason and end, and takes the ban back', async () => {
      const [{ library }, banned] = [await admin(), await signIn()];
      const userId = banned.user.id;
      const { error } = await library.admin.banUser({ userId, banReason: 'spam', banExpiresIn: 3600 });
      expect(error).toBeNull();
      const response = await banned.browser.fetch('/api/x');
      const problem = await response.json();
      expect([response.status, problem]).toEqual([
        403,
        expect.objectContaining({ code: 'user-banned', banReason: 'spam', banExpires: expect.any(String) }),
      ]);
      const ends = Date.parse(problem.banExpires) - Date.now();
      expect(Math.abs(ends - 3_600_000)).toBeLessThan(60_000);
      expect((await library.admin.unbanUser({ userId })).data?.user.banned).toBe(false);
      await signIn(banned.login);
    });

    test('acts as somebody, reads only, and is back afterwards', async () => {
      const [{ library, browser, user: self }, someone] = [await admin(), await signIn()];
      const started = await library.admin.impersonateUser({ userId: someone.user.id });
      expect(started.data?.user.id).toBe(someone.user.id);
      expect((await library.getSession()).data).toMatchObject({
        user: { id: someone.user.id },
        session: { impersonatedBy: self.id },
      });
      expect(await announced(browser)).toMatchObject({
        'x-forwarded-user': someone.user.id,
        'x-gateway-impersonated-by': self.id,
      });
      const change = await browser.fetch('/api/x', { method: 'POST', headers: { origin: gateway.url } });
      expect([change.status, await change.json()]).toEqual([
        403,
        expect.objectContaining({ code: 'impersonation-read-only' }),
      ]);
      const impersonated = createClient(gateway.url, new Map(browser.cookies));
      expect((await library.admin.stopImpersonating()).error).toBeNull();
      expect((await library.getSession()).data?.user.id).toBe(self.id);
      expect(await statusOf(browser, '/api/admin/x')).toBe(200);
      expect(await statusOf(impersonated)).toBe(401);
      expect(await statusOf(someone.browser)).toBe(200);
    });

    test('sees and ends the sessions of a person', async () => {
      const [{ library }, someone] = [await admin(), await signIn()];
      const { data } = await library.admin.listUserSessions({ userId: someone.user.id });
      expect(data?.sessions.map(({ id }) => id)).toEqual([someone.session.id]);
      await library.admin.revokeUserSessions({ userId: someone.user.id });
      expect(await statusOf(someone.browser)).toBe(401);
    });

    test('removes a person', async () => {
      const [{ library }, someone] = [await admin(), await signIn()];
      expect((await library.admin.removeUser({ userId: someone.user.id })).data).toEqual({ success: true });
      expect(await statusOf(someone.browser)).toBe(401);
      expect((await someone.library.getSession()).data).toBeNull();
    });
  });

  test('in other hands commands nothing', async () => {
    const [{ library }, someone] = [await signIn(), await signIn()];
    const userId = someone.user.id;
    const refused = [
      await library.admin.listUsers({ query: {} }),
      await library.admin.setRole({ userId, role: 'admin' }),
      await library.admin.banUser({ userId }),
      await library.admin.impersonateUser({ userId }),
      await library.admin.removeUser({ userId }),
    ];
    expect(refused.map(({ data, error }) => [data, error?.status])).toEqual(refused.map(() => [null, 403]));
    expect(await announced(someone.browser)).toMatchObject({ 'x-forwarded-groups': 'user' });
  });
});
