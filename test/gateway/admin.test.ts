import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { send } from '../support/send.ts';

interface Echo {
  headers: Record<string, string>;
}

describe.each(['postgres+redis', 'sqlite'] as const)('administrators, on %s', (stores) => {
  let gateway: TestGateway;
  let admin: Client;
  beforeAll(async () => {
    gateway = await startTestGateway({ stores });
    ({ client: admin } = await signInWithGitHub(gateway, 'monalisa'));
  });
  afterAll(() => gateway.close());

  const newcomer = async () => {
    const person = addPerson(gateway.github);
    const { client } = await signInWithGitHub(gateway, person.login);
    return { ...person, client, id: await userIdOf(client), replay: copyOf(client) };
  };
  const copyOf = (client: Client) => createClient(gateway.url, new Map(client.cookies));
  const userIdOf = async (client: Client) =>
    (await client.json<{ user: { id: string } }>('/api/auth/get-session')).user.id;
  const command = async (name: string, body: unknown, client = admin) => {
    const response = await client.fetch(`/api/auth/admin/${name}`, post(body));
    expect(response.status, `${name}: ${await response.clone().text()}`).toBe(200);
    return response;
  };
  const answer = async (client: Client, path = '/api/x') => {
    const response = await client.fetch(path);
    return [response.status, await response.json()];
  };

  test('admins of the configuration have the role from their first sign-in; nobody else has', async () => {
    expect(await answer(admin, '/api/admin/x')).toEqual([
      200,
      expect.objectContaining({ headers: expect.objectContaining({ 'x-forwarded-groups': 'admin' }) }),
    ]);
    const { client } = await newcomer();
    expect(await answer(client, '/api/admin/x')).toEqual([
      403,
      expect.objectContaining({ code: 'role-missing', requiredRoles: ['admin'], roles: ['user'] }),
    ]);
  });

  const commands = [
    'set-role',
    'ban-user',
    'unban-user',
    'impersonate-user',
    'remove-user',
    'update-user',
    'create-user',
    'set-user-password',
    'list-user-sessions',
    'revoke-user-sessions',
  ];
  test('who is no admin commands nothing', async () => {
    const { client, id } = await newcomer();
    const target = await newcomer();
    const body = {
      userId: target.id,
      role: 'admin',
      data: { name: 'x' },
      email: 'x@example.com',
      name: 'x',
      password: 'long enough 1234',
      newPassword: 'long enough 1234',
    };
    for (const name of commands) {
      const response = await client.fetch(`/api/auth/admin/${name}`, post(body));
      expect(response.status, `${name}: ${await response.text()}`).toBe(403);
      const anonymous = await createClient(gateway.url).fetch(`/api/auth/admin/${name}`, post(body));
      expect(anonymous.status, name).toBe(401);
    }
    expect((await client.fetch('/api/auth/admin/list-users')).status).toBe(403);
    await client.fetch('/api/auth/admin/set-role', post({ userId: id, role: 'admin' }));
    expect((await answer(client, '/api/admin/x'))[0]).toBe(403);
    expect((await answer(target.client))[0]).toBe(200);
  });

  test('a role counts at once, up and down, for every session of the person', async () => {
    const { client, id, login } = await newcomer();
    const { client: elsewhere } = await signInWithGitHub(gateway, login);
    for (const each of [client, elsewhere]) expect((await answer(each, '/api/admin/x'))[0]).toBe(403);
    await command('set-role', { userId: id, role: 'admin' });
    for (const each of [client, elsewhere]) expect((await answer(each, '/api/admin/x'))[0]).toBe(200);
    await command('set-role', { userId: id, role: 'user' });
    for (const each of [client, elsewhere]) expect((await answer(each, '/api/admin/x'))[0]).toBe(403);
  });

  test('a ban by API turns the live cookie into 403 with reason and end; after unbanning it is 401', async () => {
    const { client, id, login, replay } = await newcomer();
    const { client: elsewhere } = await signInWithGitHub(gateway, login);
    expect((await answer(client))[0]).toBe(200);
    await command('ban-user', { userId: id, banReason: 'spam', banExpiresIn: 3600 });
    for (const each of [client, elsewhere, replay]) {
      const [status, problem] = await answer(copyOf(each));
      expect([status, problem]).toEqual([
        403,
        expect.objectContaining({ code: 'user-banned', banReason: 'spam', banExpires: expect.any(String) }),
      ]);
      const ends = Date.parse(problem.banExpires) - Date.now();
      expect(ends).toBeGreaterThan(3_500_000);
      expect(ends).toBeLessThan(3_700_000);
      expect((await copyOf(each).fetch('/api/user-scopes')).status).toBe(403);
      const told = await copyOf(each).fetch('/api/auth/get-session');
      expect(told.status === 403 || (await told.json()) === null, 'get-session gives nobody').toBe(true);
      expect((await copyOf(each).fetch('/api/auth/list-sessions')).status).toBe(403);
    }
    await command('unban-user', { userId: id });
    expect(await answer(replay)).toEqual([401, expect.objectContaining({ code: 'session-expired' })]);
    const { client: back } = await signInWithGitHub(gateway, login);
    expect((await answer(back))[0]).toBe(200);
  });

  test('on an optional route a banned person is anonymous', async () => {
    const { client, id } = await newcomer();
    await command('ban-user', { userId: id });
    const [status, echo] = await answer(copyOf(client), '/optional/x');
    expect(status).toBe(200);
    expect((echo as Echo).headers).not.toHaveProperty('x-forwarded-user');
  });

  test('a banned person signs in by neither way, and is told so', async () => {
    const { id, login } = await newcomer();
    await command('ban-user', { userId: id, banReason: 'spam' });
    const { client, response } = await signInWithGitHub(gateway, login);
    expect([response.status, await response.json()]).toEqual([
      403,
      expect.objectContaining({ code: 'user-banned' }),
    ]);
    expect((await client.fetch('/api/x')).status).toBe(401);
    const pat = gateway.github.control.issueToken({ login, kind: 'classic', scopes: ['user:email'] });
    const byToken = await send(`${gateway.url}/api/auth/pat-signin`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ pat }),
      from: `127.5.${stores === 'sqlite' ? 1 : 2}.1`,
    });
    expect([byToken.status, await byToken.json()]).toEqual([
      403,
      expect.objectContaining({ code: 'user-banned', banReason: 'spam', message: expect.any(String) }),
    ]);
    expect(byToken.headers.getSetCookie()).toEqual([]);
  });

  test('a ban that has run out lets the person in again', async () => {
    const { id, login, replay } = await newcomer();
    await command('ban-user', { userId: id, banExpiresIn: 3600 });
    const past = new Date(Date.now() - 1000).toISOString();
    await gateway.store.query(`update "user" set "banExpires" = $1 where id = $2`, past, id);
    expect((await answer(replay))[0]).toBe(401);
    const { client } = await signInWithGitHub(gateway, login);
    expect((await answer(client))[0]).toBe(200);
  });

  test('impersonation shows both to the upstream, changes nothing, and ends with the admin back', async () => {
    const { id } = await newcomer();
    const actor = copyOf(admin);
    const adminId = await userIdOf(actor);
    await command('impersonate-user', { userId: id }, actor);
    const { headers } = await actor.json<Echo>('/api/x');
    expect(headers).toMatchObject({ 'x-forwarded-user': id, 'x-gateway-impersonated-by': adminId });
    expect(
      await gateway.store.query(`select "impersonatedBy" from session where "userId" = $1`, id),
    ).toContainEqual(expect.objectContaining({ impersonatedBy: adminId }));
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      const before = gateway.upstream.seen.length;
      const response = await actor.fetch('/api/x', { method });
      expect([response.status, await response.json()], method).toEqual([
        403,
        expect.objectContaining({ code: 'impersonation-read-only' }),
      ]);
      expect(gateway.upstream.seen.length).toBe(before);
    }
    const impersonating = copyOf(actor);
    await command('stop-impersonating', {}, actor);
    expect((await actor.json<Echo>('/api/admin/x')).headers['x-forwarded-user']).toBe(adminId);
    expect((await answer(impersonating))[0]).toBe(401);
  });

  test('a session of an admin cannot be taken by who is impersonated', async () => {
    const { id, client } = await newcomer();
    const actor = copyOf(admin);
    await command('impersonate-user', { userId: id }, actor);
    expect((await client.fetch('/api/auth/admin/stop-impersonating', post())).status).not.toBe(200);
    expect((await answer(actor, '/api/admin/x'))[0]).toBe(403);
    await command('stop-impersonating', {}, actor);
  });

  test('a removed person is gone, sessions and account with them', async () => {
    const { id, client } = await newcomer();
    expect((await answer(client))[0]).toBe(200);
    await command('remove-user', { userId: id });
    expect((await answer(client))[0]).toBe(401);
    for (const table of ['session', 'account', 'gateway_github_profile'])
      expect(await gateway.store.query(`select 1 from ${table} where "userId" = $1`, id), table).toEqual([]);
  });

  test("an admin ends a person's sessions", async () => {
    const { id, client } = await newcomer();
    expect((await answer(client))[0]).toBe(200);
    await command('revoke-user-sessions', { userId: id });
    expect((await answer(client))[0]).toBe(401);
  });

  test('listing people and sessions tells no token of GitHub', async () => {
    const { id } = await newcomer();
    const people = await (await admin.fetch('/api/auth/admin/list-users?limit=100')).text();
    const sessions = await (await command('list-user-sessions', { userId: id })).text();
    expect(people).toContain(id);
    expect(people + sessions).not.toMatch(/gh[opu]_|accessToken|v1\.s-/);
  });
});

test.each(['postgres', 'sqlite'] as const)('a ban by SQL counts, on %s', async (stores) => {
  const gateway = await startTestGateway({ stores });
  try {
    const { client } = await signInWithGitHub(gateway, 'octocat');
    expect((await client.fetch('/api/x')).status).toBe(200);
    const banned = stores === 'sqlite' ? '1' : 'true';
    const until = new Date(Date.now() + 60_000).toISOString();
    await gateway.store.query(
      `update "user" set banned = ${banned}, "banReason" = 'by hand', "banExpires" = $1`,
      until,
    );
    const answer = async () => {
      const refused = await client.fetch('/api/x');
      return [refused.status, await refused.json()];
    };
    await expect
      .poll(answer, { interval: 10 })
      .toEqual([
        403,
        expect.objectContaining({ code: 'user-banned', banReason: 'by hand', banExpires: until }),
      ]);
    await gateway.store.query(`update "user" set "banExpires" = $1`, new Date(Date.now() - 1).toISOString());
    await expect.poll(async () => (await client.fetch('/api/x')).status, { interval: 10 }).toBe(200);
  } finally {
    await gateway.close();
  }
});

test('role, ban and sign-out through one gateway count at another on the same Redis', async () => {
  const gateway = await startTestGateway();
  const second = await gateway.another();
  try {
    const { client: admin } = await signInWithGitHub(gateway, 'monalisa');
    const { client } = await signInWithGitHub(gateway, 'octocat');
    const there = createClient(second.url, new Map(client.cookies));
    const { user } = await client.json<{ user: { id: string } }>('/api/auth/get-session');
    const status = async () => (await there.fetch('/api/admin/x')).status;
    expect(await status()).toBe(403);
    await admin.fetch('/api/auth/admin/set-role', post({ userId: user.id, role: 'admin' }));
    expect(await status()).toBe(200);
    await admin.fetch('/api/auth/admin/set-role', post({ userId: user.id, role: 'user' }));
    expect(await status()).toBe(403);
    await admin.fetch('/api/auth/admin/ban-user', post({ userId: user.id }));
    const banned = await there.fetch('/api/x');
    expect([banned.status, await banned.json()]).toEqual([
      403,
      expect.objectContaining({ code: 'user-banned', banReason: expect.anything() }),
    ]);
  } finally {
    await second.close();
    await gateway.close();
  }
});
