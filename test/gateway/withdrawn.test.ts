// Signing out everywhere, and taking the authorization back at GitHub: each is felt on the other side.
import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient, post, sendToken, signInWithGitHub } from '../support/browser-like.ts';
import { DEFAULT_CONFIG, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { requestText, sendBytes } from '../support/raw-socket.ts';

const SECRET = 'a-webhook-secret-for-tests';
const WEBHOOK = '/_gateway/github/webhook';
const EVENT = 'github_app_authorization';

let deleting: TestGateway;
let keeping: TestGateway;
let second: TestGateway;
beforeAll(async () => {
  const config = `${DEFAULT_CONFIG}\ngithubTokens: { onSignOutEverywhere: delete }\n`;
  deleting = await startTestGateway({ config, env: { GITHUB_WEBHOOK_SECRET: SECRET } });
  second = await deleting.another({ BETTER_AUTH_URL: deleting.url });
  keeping = await startTestGateway({ stores: 'sqlite' });
});
afterAll(async () => {
  await second?.close();
  await deleting?.close();
  await keeping?.close();
});

async function signedIn(gateway: TestGateway) {
  const { id, login } = addPerson(gateway.github);
  const { client } = await signInWithGitHub(gateway, login);
  const { user } = await client.json<{ user: { id: string } }>('/api/auth/get-session');
  return { id, login, client, userId: user.id, token: await tokenSeen(client) };
}

const isAlive = async (gateway: TestGateway, token: string) =>
  (await fetch(`${gateway.github.apiUrl}/user`, { headers: { authorization: `Bearer ${token}` } })).ok;

const stored = (gateway: TestGateway, userId: string) =>
  gateway.store.query<Record<string, string | null>>(
    `select "accessToken", "refreshToken" from account where "userId" = $1`,
    userId,
  );
const NOTHING = [{ accessToken: null, refreshToken: null }];

describe('signing out everywhere', () => {
  test('deletes the token at GitHub and here, where that is set', async () => {
    const { login, client, userId, token } = await signedIn(deleting);
    const { client: other } = await signInWithGitHub(deleting, login);
    const latest = await tokenSeen(other);
    expect((await client.fetch('/api/auth/revoke-sessions', post({}))).status).toBe(200);
    await expect.poll(() => isAlive(deleting, latest), { timeout: 5000 }).toBe(false);
    expect(await stored(deleting, userId)).toEqual(NOTHING);
    expect((await other.fetch('/api/x')).status).toBe(401);
    // One that was replaced by a later sign-in is not ours to know any more.
    expect(await isAlive(deleting, token)).toBe(true);
    const { client: again } = await signInWithGitHub(deleting, login);
    expect((await again.fetch('/api/x')).status).toBe(200);
  });

  test('by an administrator does so, too', async () => {
    const { userId, token } = await signedIn(deleting);
    const { client: admin } = await signInWithGitHub(deleting, 'monalisa');
    expect((await admin.fetch('/api/auth/admin/revoke-user-sessions', post({ userId }))).status).toBe(200);
    await expect.poll(() => isAlive(deleting, token), { timeout: 5000 }).toBe(false);
  });

  test('leaves a personal access token alone: it is its owner’s', async () => {
    const { login } = addPerson(deleting.github);
    const token = deleting.github.control.issueToken({ login, kind: 'classic', scopes: ['user:email'] });
    const client = createClient(deleting.url);
    await sendToken(client, token);
    expect((await client.fetch('/api/auth/revoke-sessions', post({}))).status).toBe(200);
    expect((await client.fetch('/api/x')).status).toBe(401);
    expect(await isAlive(deleting, token)).toBe(true);
  });

  test('of one session, or of the others, deletes nothing', async () => {
    const { login, client, token } = await signedIn(deleting);
    await signInWithGitHub(deleting, login);
    expect((await client.fetch('/api/auth/revoke-other-sessions', post({}))).status).toBe(200);
    const latest = await tokenSeen(client);
    expect((await client.fetch('/api/auth/sign-out', post())).status).toBe(200);
    for (const each of [token, latest]) expect(await isAlive(deleting, each)).toBe(true);
  });

  test('GitHub is away: people are signed out all the same', async () => {
    const { client, userId } = await signedIn(deleting);
    deleting.github.control.fail('server-error', {
      times: 1,
      path: `/applications/${deleting.github.app.clientId}/token`,
    });
    expect((await client.fetch('/api/auth/revoke-sessions', post({}))).status).toBe(200);
    expect((await client.fetch('/api/x')).status).toBe(401);
    expect(await stored(deleting, userId)).toEqual(NOTHING);
  });

  test('keeps the token unless that is set', async () => {
    const { client, userId, token } = await signedIn(keeping);
    expect((await client.fetch('/api/auth/revoke-sessions', post({}))).status).toBe(200);
    expect(await isAlive(keeping, token)).toBe(true);
    expect(await stored(keeping, userId)).not.toEqual(NOTHING);
  });
});

function deliver(
  body: string,
  { event = EVENT, secret = SECRET, gateway = deleting, headers = {} }: Delivery = {},
): Promise<Response> {
  const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
  return fetch(`${gateway.url}${WEBHOOK}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-github-event': event,
      'x-hub-signature-256': signature,
      ...headers,
    },
    body,
  });
}

interface Delivery {
  event?: string;
  secret?: string;
  gateway?: TestGateway;
  headers?: Record<string, string>;
}

const revoked = (id: number) => JSON.stringify({ action: 'revoked', sender: { id, login: 'x' } });

describe('the webhook of GitHub', () => {
  test('ends every session of whoever withdrew, at every gateway, and nobody else’s', async () => {
    const { id, login, client, userId } = await signedIn(deleting);
    const { client: other } = await signInWithGitHub(second, login);
    const { client: bystander } = await signedIn(deleting);
    expect((await other.fetch('/api/x')).status).toBe(200);
    expect((await deliver(revoked(id))).status).toBe(204);
    expect((await client.fetch('/api/x')).status).toBe(401);
    await expect.poll(async () => (await other.fetch('/api/x')).status, { timeout: 2000 }).toBe(401);
    expect(await client.json('/api/auth/get-session')).toBeNull();
    expect((await bystander.fetch('/api/x')).status).toBe(200);
    expect(await stored(deleting, userId)).toEqual(NOTHING);
    const { client: again } = await signInWithGitHub(deleting, login);
    expect((await again.fetch('/api/x')).status).toBe(200);
  });

  test('ends the sessions in which they act as somebody else, too, and no other of that person', async () => {
    const { id, userId } = await signedIn(deleting);
    const { login, client: acting, userId: person } = await signedIn(deleting);
    await deleting.store.query(`update "user" set role = 'admin' where id = $1`, userId);
    await deleting.store.query(
      `update session set "impersonatedBy" = $1 where "userId" = $2`,
      ...[userId, person],
    );
    const { client: own } = await signInWithGitHub(deleting, login);
    expect((await acting.fetch('/api/x')).status).toBe(200);
    expect((await deliver(revoked(id))).status).toBe(204);
    expect((await acting.fetch('/api/x')).status).toBe(401);
    expect((await own.fetch('/api/x')).status).toBe(200);
  });

  test('comes as a form as well', async () => {
    const { id, client } = await signedIn(deleting);
    const body = new URLSearchParams({ payload: revoked(id) }).toString();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    expect((await deliver(body, { headers })).status).toBe(204);
    expect((await client.fetch('/api/x')).status).toBe(401);
  });

  test.each([
    ['signed with another secret', { secret: 'another-secret-of-some-length' }],
    ['not signed', { headers: { 'x-hub-signature-256': '' } }],
    [
      'signed the old way',
      { headers: { 'x-hub-signature-256': '', 'x-hub-signature': `sha1=${'0'.repeat(40)}` } },
    ],
    ['signed with nothing', { headers: { 'x-hub-signature-256': 'sha256=' } }],
    ['of another length', { headers: { 'x-hub-signature-256': `sha256=${'a'.repeat(65)}` } }],
    ['not in ASCII', { headers: { 'x-hub-signature-256': `sha256=${'é'.repeat(64)}` } }],
  ])('is refused when it is %s, and changes nothing', async (_name, delivery) => {
    const { id, client } = await signedIn(deleting);
    const answer = await deliver(revoked(id), delivery);
    expect([answer.status, (await answer.json()).code]).toEqual([401, 'signature-invalid']);
    expect((await client.fetch('/api/x')).status).toBe(200);
  });

  test('changed on the way is refused', async () => {
    const { id, client } = await signedIn(deleting);
    const signature = `sha256=${createHmac('sha256', SECRET).update(revoked(1)).digest('hex')}`;
    const answer = await deliver(revoked(id), { headers: { 'x-hub-signature-256': signature } });
    expect(answer.status).toBe(401);
    expect((await client.fetch('/api/x')).status).toBe(200);
  });

  test.each([
    ['a ping', 'ping', '{"zen":"Design for failure.","hook_id":1}', 204],
    ['somebody nobody knows', EVENT, revoked(1), 204],
    ['another action', EVENT, '{"action":"created","sender":{"id":1}}', 204],
    ['another event', 'push', '{"ref":"refs/heads/main"}', 204],
    ['no JSON', EVENT, 'zen', 400],
    ['nothing', EVENT, '', 400],
  ])('that tells of %s ends nothing', async (_name, event, body, status) => {
    expect((await deliver(body, { event })).status).toBe(status);
  });

  test('is refused before its body is there, unless it looks signed, and waited for no longer than 10 s', async () => {
    const open = (signature: string) =>
      sendBytes(
        deleting.url,
        requestText(WEBHOOK, ['Content-Length: 10', `X-Hub-Signature-256: ${signature}`], 'POST'),
        15_000,
      );
    const unsigned = await open('sha256=0');
    expect([unsigned.status, JSON.parse(unsigned.body).code]).toEqual([401, 'signature-invalid']);
    const silent = await open(`sha256=${'0'.repeat(64)}`);
    expect([silent.status, JSON.parse(silent.body).code]).toEqual([400, 'bad-request']);
  }, 30_000);

  test('is of a size, and of one method', async () => {
    expect((await deliver('x'.repeat(64 * 1024))).status).toBe(400);
    expect((await deliver('x'.repeat(64 * 1024 + 1))).status).toBe(413);
    const answer = await fetch(`${deleting.url}${WEBHOOK}`);
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST']);
  });

  test('does not exist without a secret', async () => {
    expect((await deliver(revoked(1), { gateway: keeping, secret: '' })).status).toBe(404);
  });

  test('says nothing of the person or the secret in the log but their id', async () => {
    const { id } = await signedIn(deleting);
    await deliver(revoked(id));
    const lines = deleting.logLines().filter((line) => line.includes(`"githubId":"${id}"`));
    expect(lines).toHaveLength(1);
    expect(deleting.logLines().join('\n')).not.toContain(SECRET);
  });
});

async function tokenSeen(client: Client): Promise<string> {
  const { headers } = await client.json<{ headers: Record<string, string> }>('/api/x');
  return headers['x-forwarded-access-token'] ?? '';
}
