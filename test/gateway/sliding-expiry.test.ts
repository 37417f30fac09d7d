import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Client,
  createClient,
  post,
  signInWithGitHub,
  signInWithToken,
} from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { openTestStore, type TestStore } from '../support/store.ts';

const DAY = 24 * 60 * 60 * 1000;

describe.each(['postgres+redis', 'sqlite'] as const)('proxied traffic alone, on %s', (stores) => {
  let gateway: TestGateway;
  let store: TestStore;

  beforeAll(async () => {
    gateway = await startTestGateway({ stores });
    store = openTestStore(gateway.config);
  });
  afterAll(async () => {
    await store.close();
    await gateway.close();
  });

  test('extends a session that is a day old, once, and its cookie reaches the client', async () => {
    const client = await signInWithToken(gateway, 'octocat');
    await endsIn(client, 5.9 * DAY);
    const answers = await eventually(async () => {
      const answer = await client.fetch('/api/x');
      return sessionCookies(answer).length > 0 ? answer : null;
    });
    expect(sessionCookies(answers)).toEqual([
      expect.stringMatching(
        /^better-auth\.session_token=[^;]+; Max-Age=604800; Path=\/; HttpOnly; SameSite=Lax$/,
      ),
    ]);
    expect(await lifeOf(client)).toBeGreaterThan(6.9 * DAY);
    const again = await Promise.all(Array.from({ length: 10 }, () => client.fetch('/api/x')));
    expect(again.flatMap(sessionCookies)).toEqual([]);
  });

  test('leaves a younger session alone', async () => {
    const client = await signInWithToken(gateway, 'hubot');
    const before = await lifeOf(client);
    expect(sessionCookies(await client.fetch('/api/x'))).toEqual([]);
    expect(await lifeOf(client)).toBeLessThanOrEqual(before);
  });

  test('does not extend a session in which somebody acts as somebody else', async () => {
    await signInWithGitHub(gateway, 'octocat');
    const { client: admin } = await signInWithGitHub(gateway, 'monalisa');
    const { users } = await admin.json<{ users: { id: string; name: string }[] }>(
      '/api/auth/admin/list-users',
    );
    const other = users.find(({ name }) => /octocat/i.test(name));
    expect((await admin.fetch('/api/auth/admin/impersonate-user', post({ userId: other?.id }))).status).toBe(
      200,
    );
    const answer = await admin.fetch('/api/x');
    expect([answer.status, sessionCookies(answer)]).toEqual([200, []]);
    expect(await lifeOf(admin)).toBeLessThan(DAY);
  });

  test('brings no session back that was signed out', async () => {
    const client = await signInWithToken(gateway, 'octocat');
    const replay = createClient(gateway.url, new Map(client.cookies));
    await endsIn(client, 5.9 * DAY);
    await client.fetch('/api/auth/sign-out', post());
    const answer = await replay.fetch('/api/x');
    expect([answer.status, answer.headers.getSetCookie()]).toEqual([401, []]);
  });

  async function endsIn(client: Client, ms: number): Promise<void> {
    const date = new Date(Date.now() + ms).toISOString();
    await store.query('update session set "expiresAt" = $1 where token = $2', date, tokenOf(client));
  }

  async function lifeOf(client: Client): Promise<number> {
    const [row] = await store.query<{ expiresAt: string | Date }>(
      'select "expiresAt" from session where token = $1',
      tokenOf(client),
    );
    return new Date(row?.expiresAt ?? 0).getTime() - Date.now();
  }
});

/** Of a life begun anew. The JWE cookie is renewed in its own time, and repeats the session cookie for what is left. */
function sessionCookies(answer: Response): string[] {
  const lines = answer.headers.getSetCookie();
  return lines.filter((line) => /^better-auth\.session_token=[^;]+; Max-Age=604800;/.test(line));
}

function tokenOf(client: Client): string {
  return decodeURIComponent(client.cookies.get('better-auth.session_token') ?? '').split('.', 1)[0] ?? '';
}

async function eventually<T>(ask: () => Promise<T | null>): Promise<T> {
  const deadline = Date.now() + 5000;
  while (Date.now() < deadline) {
    const answer = await ask();
    if (answer !== null) return answer;
  }
  throw new Error('it did not come about within 5 s');
}
