import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createClient, post, signInWithGitHub, signInWithToken } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';

describe.each(['postgres+redis', 'postgres', 'sqlite'] as const)('on %s', (stores) => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ stores });
  });
  afterAll(() => gateway.close());

  test('a person who signed in with GitHub reaches the upstream with identity and token', async () => {
    const { client, landedAt } = await signInWithGitHub(gateway, 'octocat');
    expect(landedAt).toMatch(/\/api\/home$/);
    const { headers } = await client.json<{ headers: Record<string, string> }>('/api/home');
    expect(headers).toMatchObject({
      'x-forwarded-preferred-username': 'octocat',
      'x-forwarded-email': 'octocat@example.com',
      'x-forwarded-groups': 'user',
      'x-gateway-scopes': 'public_repo,read:user,user:email',
      'x-forwarded-access-token': expect.stringMatching(/^gho_/),
    });
    expect(headers.cookie).toBeUndefined();
  });

  test('a person who signed in with a token reaches the upstream; after signing out nobody does', async () => {
    const client = await signInWithToken(gateway, 'hubot');
    expect((await client.fetch('/api/x')).status).toBe(200);
    const replay = createClient(gateway.url, new Map(client.cookies));
    expect((await client.fetch('/api/auth/sign-out', post())).status).toBe(200);
    const after = await replay.fetch('/api/x');
    expect([after.status, await after.json()]).toEqual([
      401,
      expect.objectContaining({ code: 'session-expired' }),
    ]);
  });
});
