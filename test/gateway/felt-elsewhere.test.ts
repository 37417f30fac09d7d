// What is changed through one gateway counts at the other within moments, with Redis between them or without.
import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Client,
  createClient,
  post,
  signInWithGitHub,
  signInWithToken,
} from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';

const SESSION = 'better-auth.session_token';
const FELT = { interval: 5, timeout: 2000 };

interface Echo {
  headers: Record<string, string>;
}

/** The same browser at another gateway: one cookie jar for both. */
const at = (gateway: { url: string }, client: Client) => createClient(gateway.url, client.cookies);
/** Keeps the cookies of now, whatever the browser is told later. */
const copyOf = (client: Client, gateway: { url: string }) =>
  createClient(gateway.url, new Map(client.cookies));
const answer = async (client: Client, path = '/api/x') => {
  const response = await client.fetch(path);
  return [response.status, (await response.json()).code];
};
const echo = async (client: Client) => (await client.json<Echo>('/api/x')).headers;
const idOf = async (client: Client) =>
  (await client.json<{ user: { id: string } }>('/api/auth/get-session')).user.id;
const command = async (client: Client, path: string, body: unknown = {}) => {
  const response = await client.fetch(path, post(body));
  expect(response.status, `${path}: ${await response.clone().text()}`).toBe(200);
};

describe.each(['postgres+redis', 'postgres'] as const)('on %s', (stores) => {
  let one: TestGateway;
  let two: TestGateway;
  beforeAll(async () => {
    one = await startTestGateway({ stores });
    two = await one.another({ BETTER_AUTH_URL: one.url });
  });
  afterAll(async () => {
    await two?.close();
    await one?.close();
  });

  const signedIn = async (login = addPerson(one.github).login) => (await signInWithGitHub(one, login)).client;
  /** Both have seen the session, and may have cached it. */
  const warm = async (client: Client) => {
    for (const gateway of [one, two, one, two])
      expect((await at(gateway, client).fetch('/api/x')).status).toBe(200);
  };
  const directions = [
    ['from the first to the second', () => ({ here: one, there: two })],
    ['from the second to the first', () => ({ here: two, there: one })],
  ] as const;

  describe.each(directions)('%s', (_name, pick) => {
    test('a sign-out', async () => {
      const { here, there } = pick();
      const client = await signedIn();
      await warm(client);
      const replays = [copyOf(client, there), copyOf(client, here)];
      await command(at(here, client), '/api/auth/sign-out');
      for (const replay of replays) {
        await expect.poll(() => answer(replay), FELT).toEqual([401, 'session-expired']);
        expect(await replay.json('/api/auth/get-session')).toBeNull();
      }
    });

    test('the end of other sessions', async () => {
      const { here, there } = pick();
      const { login } = addPerson(one.github);
      const [laptop, phone] = [await signedIn(login), await signedIn(login)];
      await warm(laptop);
      await warm(phone);
      await command(at(here, laptop), '/api/auth/revoke-other-sessions');
      await expect.poll(() => answer(copyOf(phone, there)), FELT).toEqual([401, 'session-expired']);
      await expect.poll(async () => (await answer(copyOf(laptop, there)))[0], FELT).toBe(200);
    });

    test('a ban, with its reason', async () => {
      const { here, there } = pick();
      const [admin, client] = [await signedIn('monalisa'), await signedIn()];
      const userId = await idOf(client);
      await warm(client);
      await command(at(here, admin), '/api/auth/admin/ban-user', { userId, banReason: 'spam' });
      const told = async () => {
        const response = await copyOf(client, there).fetch('/api/x');
        return [response.status, await response.json()];
      };
      const banned = { code: 'user-banned', banReason: 'spam' };
      await expect.poll(told, FELT).toEqual([403, expect.objectContaining(banned)]);
      expect((await at(there, client).fetch('/optional/x')).status).toBe(200);
    });

    test('a role, given and taken', async () => {
      const { here, there } = pick();
      const [admin, client] = [await signedIn('monalisa'), await signedIn()];
      const userId = await idOf(client);
      await warm(client);
      await expect.poll(() => answer(at(there, client), '/api/admin/x'), FELT).toEqual([403, 'role-missing']);
      await command(at(here, admin), '/api/auth/admin/set-role', { userId, role: 'admin' });
      await expect.poll(async () => (await answer(at(there, client), '/api/admin/x'))[0], FELT).toBe(200);
      await command(at(here, admin), '/api/auth/admin/set-role', { userId, role: 'user' });
      await expect.poll(() => answer(at(there, client), '/api/admin/x'), FELT).toEqual([403, 'role-missing']);
    });

    test('scopes and token of a new sign-in, for the sessions that are', async () => {
      const { here, there } = pick();
      const { login } = addPerson(one.github);
      const client = await signedIn(login);
      await warm(client);
      await expect
        .poll(() => answer(at(there, client), '/api/workflows/1'), FELT)
        .toEqual([403, 'scope-missing']);
      const scopes = ['repo', 'workflow', 'user:email'];
      await signInWithToken({ url: here.url, github: one.github }, login, scopes);
      await expect.poll(async () => (await answer(at(there, client), '/api/workflows/1'))[0], FELT).toBe(200);
      await expect
        .poll(() => echo(at(there, client)), FELT)
        .toMatchObject({
          'x-gateway-scopes': 'repo,user:email,workflow',
          'x-forwarded-access-token': expect.stringMatching(/^ghp_/),
        });
    });

    test('impersonation, which begins here and ends there', async () => {
      const { here, there } = pick();
      const [admin, client] = [await signedIn('monalisa'), await signedIn()];
      const [adminId, userId] = [await idOf(admin), await idOf(client)];
      await command(at(here, admin), '/api/auth/admin/impersonate-user', { userId });
      const impersonated = copyOf(admin, here);
      await expect
        .poll(() => echo(at(there, admin)), FELT)
        .toMatchObject({
          'x-forwarded-user': userId,
          'x-gateway-impersonated-by': adminId,
        });
      await command(at(there, admin), '/api/auth/admin/stop-impersonating');
      await expect.poll(() => echo(at(here, admin)), FELT).toMatchObject({ 'x-forwarded-user': adminId });
      await expect.poll(() => answer(impersonated), FELT).toEqual([401, 'session-expired']);
    });

    test('the removal of a person', async () => {
      const { here, there } = pick();
      const [admin, client] = [await signedIn('monalisa'), await signedIn()];
      const userId = await idOf(client);
      await warm(client);
      await command(at(here, admin), '/api/auth/admin/remove-user', { userId });
      await expect.poll(async () => (await answer(copyOf(client, there)))[0], FELT).toBe(401);
    });
  });

  test('one goes on when another ends', async () => {
    const third = await one.another();
    const client = await signedIn();
    expect((await at(third, client).fetch('/api/x')).status).toBe(200);
    await third.close();
    await warm(client);
  });
});

describe('where the secret was changed', () => {
  const OLD = 'a-secret-for-tests-0123456789abcdefghij';
  const NEW = 'the-next-secret-9876543210zyxwvutsrqpo';
  let before: TestGateway;
  let during: TestGateway;
  let after: TestGateway;
  beforeAll(async () => {
    before = await startTestGateway({ env: { BETTER_AUTH_SECRET: OLD } });
    const env = { BETTER_AUTH_URL: before.url };
    during = await before.another({ ...env, BETTER_AUTH_SECRETS: `2:${NEW},1:${OLD}` });
    after = await before.another({ ...env, BETTER_AUTH_SECRETS: `2:${NEW}` });
  });
  afterAll(async () => {
    for (const gateway of [after, during, before]) await gateway?.close();
  });

  const signerOf = (client: Client) => {
    const [token = '', signature] = decodeURIComponent(client.cookies.get(SESSION) ?? '').split('.');
    const made = [OLD, NEW].map((secret) => createHmac('sha256', secret).update(token).digest('base64'));
    return ['old', 'new'][made.indexOf(String(signature))];
  };

  test('a session that is extended is signed with the new one', async () => {
    const { client } = await signInWithGitHub(before, addPerson(before.github).login);
    await before.store.query(
      `update session set "expiresAt" = $1 where "userId" = $2`,
      new Date(Date.now() + 2 * 86_400_000).toISOString(),
      await idOf(client),
    );
    expect(signerOf(client)).toBe('old');
    await expect.poll(() => answer(copyOf(client, after)), FELT).toEqual([401, 'session-invalid']);
    expect(await at(during, client).json('/api/auth/get-session')).not.toBeNull();
    expect(signerOf(client)).toBe('new');
    // To an upstream that takes no token: the stored one was encrypted under the old secret.
    await expect.poll(async () => (await answer(copyOf(client, after), '/plain/x'))[0], FELT).toBe(200);
    await expect.poll(() => answer(copyOf(client, after)), FELT).toEqual([401, 'reauth-required']);
  });

  test('impersonation that began under the old one ends under the new one', async () => {
    const { client: admin } = await signInWithGitHub(before, 'monalisa');
    const adminId = await idOf(admin);
    const { client } = await signInWithGitHub(before, addPerson(before.github).login);
    await command(admin, '/api/auth/admin/impersonate-user', { userId: await idOf(client) });
    expect(signerOf(admin)).toBe('old');
    await command(at(during, admin), '/api/auth/admin/stop-impersonating');
    expect(await idOf(at(during, admin))).toBe(adminId);
    expect(signerOf(admin)).toBe('new');
  });
});
