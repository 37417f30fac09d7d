// A stored token that nobody can open is asked for again, of that person alone: whatever the format and the store, nothing of
// it goes up, and nothing else of theirs breaks.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { DEFAULT_CONFIG, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';

const PLAIN = 'gho_PLAINTEXTplaintextPLAINTEXTplaintext0';
const KEY = `k:${randomBytes(32).toString('base64')}`;
const HEX = randomBytes(80).toString('hex');

const stored = {
  plaintext: PLAIN,
  'hex that no secret has encrypted': HEX,
  'of a secret that is gone': `$ba$9$${HEX}`,
  'of a key that is gone': `v1.gone.${'A'.repeat(16)}.${'B'.repeat(22)}.${'C'.repeat(54)}`,
  'no ciphertext at all': '{"token":null}',
  'very long': `v1.k.${'A'.repeat(100_000)}`,
};

describe.each([
  ['aes-256-gcm', 'sqlite'],
  ['aes-256-gcm', 'postgres+redis'],
  ['better-auth', 'postgres'],
] as const)('written as %s in %s, a token', (format, stores) => {
  let gateway: TestGateway;
  let client: Client;
  let userId: string;
  beforeAll(async () => {
    gateway = await startTestGateway({
      stores,
      config: `${DEFAULT_CONFIG}githubTokens: { format: ${format} }\n`,
      env: { GITHUB_TOKEN_KEYS: KEY },
    });
    ({ client } = await signInWithGitHub(gateway, addPerson(gateway.github).login));
    userId = (await client.json<{ user: { id: string } }>('/api/auth/get-session')).user.id;
  });
  afterAll(() => gateway?.close());

  const store = (column: string, value: string) =>
    gateway.store.query(`update account set "${column}" = $1 where "userId" = $2`, value, userId);
  const answer = async (path: string) => {
    const response = await client.fetch(path);
    return { status: response.status, text: await response.text() };
  };

  test.each(Object.entries(stored))('that is %s', async (_what, value) => {
    await store('accessToken', value);
    const at = gateway.upstream.seen.length;
    await expect.poll(async () => (await answer('/api/x')).status, { timeout: 5000 }).toBe(401);
    const seen = gateway.upstream.seen.length;
    const refused = await answer('/api/x?a=1');
    const problem = JSON.parse(refused.text);
    expect([refused.status, problem.code]).toEqual([401, 'reauth-required']);
    expect(new URL(problem.reauthUrl).searchParams.get('callbackURL')).toBe('/api/x?a=1');
    expect(gateway.upstream.seen.length).toBe(seen);
    for (const path of ['/optional/x', '/plain/x', '/api/auth/get-session', '/api/auth/list-accounts'])
      expect([path, (await answer(path)).status]).toEqual([path, 200]);
    expect((await answer('/api/user-scopes')).text).toContain('public_repo');
    expect((await client.fetch('/api/auth/update-user', post({ name: 'New' }))).status).toBe(200);
    const sent = JSON.stringify(gateway.upstream.seen.slice(at));
    for (const text of [value.slice(0, 40), 'plaintext']) expect(sent).not.toContain(text);
    expect(refused.text + gateway.logLines().join('\n')).not.toContain(value.slice(0, 40));
  });

  test('that has ended, with a refresh token nobody can open', async () => {
    await store('accessTokenExpiresAt', new Date(Date.now() - 1000).toISOString());
    const before = gateway.github.control.refreshes;
    for (const value of [PLAIN, `$ba$9$${HEX}`, 'v1.gone.x']) {
      await store('refreshToken', value);
      await expect.poll(async () => (await answer('/api/x')).status, { timeout: 5000 }).toBe(401);
    }
    expect(gateway.github.control.refreshes).toBe(before);
  });

  test('of somebody else is untouched, and signing in again brings one', async () => {
    const { login } = addPerson(gateway.github);
    const other = (await signInWithGitHub(gateway, login)).client;
    expect((await createClient(gateway.url, other.cookies).fetch('/api/x')).status).toBe(200);
    const otherId = (await other.json<{ user: { id: string } }>('/api/auth/get-session')).user.id;
    await gateway.store.query(`update account set "accessToken" = 'v1' where "userId" = $1`, otherId);
    await expect.poll(async () => (await other.fetch('/api/x')).status, { timeout: 5000 }).toBe(401);
    await signInWithGitHub(gateway, login);
    await expect.poll(async () => (await other.fetch('/api/x')).status, { timeout: 5000 }).toBe(200);
  });
});
