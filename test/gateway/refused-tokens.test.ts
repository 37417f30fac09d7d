// A token may end before its time. Upstreams say when GitHub refused it; the person is told, and GitHub is not asked more
// than it takes.
import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';

const CONFIG = `
upstreams:
  hub: { targets: ["\${UPSTREAM}"], githubToken: forwarded }
  plain: { targets: ["\${UPSTREAM}"] }
  github: { targets: ["\${GITHUB_URL}"], githubToken: bearer }
routes:
  - { path: /plain/**, upstream: plain }
  - { path: /optional/**, upstream: hub, access: optional }
  - { path: /tried/**, upstream: hub, reportOnly: true }
  - { path: /github/**, upstream: github, stripPrefix: /github }
  - { path: /**, upstream: hub }
`;
const OWNER = 'GET /user';

describe.each(['postgres+redis', 'sqlite'] as const)('on %s', (stores) => {
  let one: TestGateway;
  let two: TestGateway;
  beforeAll(async () => {
    one = await startTestGateway({ stores, config: CONFIG });
    two = stores === 'sqlite' ? one : await one.another({ BETTER_AUTH_URL: one.url });
  });
  afterEach(() => {
    one.upstream.respond(undefined);
    one.github.control.heal();
  });
  afterAll(async () => {
    if (two !== one) await two?.close();
    await one?.close();
  });

  async function signedIn() {
    const person = await signedInAt(one);
    return { ...person, there: createClient(two.url, person.client.cookies) };
  }
  const asked = () => one.github.control.requests.count(OWNER);
  const upstreamSays = (status: number, body = 'no', githubStatus = '401') =>
    one.upstream.respond((_request, response) => answer(response, status, body, githubStatus));

  test('that is dead is told as such, at every gateway, and is sent nowhere, until the person signs in again', async () => {
    const { login, client, there, token } = await signedIn();
    one.github.control.revoke(token);
    upstreamSays(502);
    const before = asked();
    const first = await client.fetch('/api/page?x=1');
    expect([first.status, first.headers.get('x-github-status'), await first.json()]).toEqual([
      403,
      null,
      expect.objectContaining({
        code: 'github-access-denied',
        reauthUrl: expect.stringContaining(`callbackURL=${encodeURIComponent('/api/page?x=1')}`),
      }),
    ]);
    one.upstream.respond(undefined);
    const seen = one.upstream.seen.length;
    await expect.poll(async () => (await there.fetch('/api/x')).status, { timeout: 2000 }).toBe(403);
    for (const each of [client, there])
      for (let time = 0; time < 3; time++)
        expect(await each.json('/api/x')).toMatchObject({ code: 'github-access-denied' });
    expect(
      one.upstream.seen.slice(seen).filter(({ headers }) => headers['x-forwarded-access-token']),
    ).toEqual([]);
    expect(asked()).toBe(before + 1);
    // Where no token goes along, nothing has changed.
    expect((await client.fetch('/plain/x')).status).toBe(200);
    expect((await client.json('/optional/x')).headers).not.toHaveProperty('x-forwarded-access-token');
    await signInWithGitHub(one, login);
    for (const each of [client, there])
      await expect.poll(async () => (await each.fetch('/api/x')).status, { timeout: 2000 }).toBe(200);
  });

  test('that is good is looked into once, however often upstreams are refused with it', async (context) => {
    const { client, there } = await signedIn();
    upstreamSays(401, 'Bad credentials');
    const before = asked();
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_each, at) => (at % 2 ? client : there).fetch('/api/x')),
    );
    for (let time = 0; time < 20; time++) answers.push(await client.fetch('/api/x'));
    const changed = [];
    for (const each of answers)
      if (each.status !== 401 || (await each.text()) !== 'Bad credentials') changed.push(each.status);
    const gateways = two === one ? 1 : 2;
    report(context, {
      refusals: answers.length,
      gateways,
      checks: asked() - before,
      answersChanged: changed.length,
    });
    expect(changed).toEqual([]);
    expect(asked() - before).toBeLessThanOrEqual(gateways);
    expect(asked() - before).toBeGreaterThan(0);
  });

  test('GitHub itself as the upstream need not say so', async () => {
    const { client, token } = await signedIn();
    expect((await client.fetch('/github/user')).status).toBe(200);
    expect((await client.fetch('/github/nowhere')).status).toBe(404);
    one.github.control.revoke(token);
    const refused = await client.fetch('/github/user');
    expect([refused.status, (await refused.json()).code]).toEqual([403, 'github-access-denied']);
  });

  test('an answer that succeeds does not wait; the next request is told', async () => {
    const { client, token } = await signedIn();
    one.github.control.revoke(token);
    one.github.control.fail('slow', { path: '/user', ms: 300, times: 1 });
    upstreamSays(200, 'half a page');
    const first = await client.fetch('/api/x');
    expect([first.status, await first.text()]).toEqual([200, 'half a page']);
    await expect.poll(async () => (await client.fetch('/api/x')).status, { timeout: 5000 }).toBe(403);
  });

  test('what is kept back comes whole: without a body, and with a long one', async () => {
    const [{ client }, { client: other }] = [await signedIn(), await signedIn()];
    const body = 'x'.repeat(2_000_000);
    upstreamSays(403, body, '403');
    expect(await (await client.fetch('/api/x')).text()).toBe(body);
    const head = await other.fetch('/api/x', { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([403, String(body.length)]);
  });

  test('a client that leaves meanwhile harms nobody', async () => {
    const { client } = await signedIn();
    one.github.control.fail('slow', { path: '/user', ms: 300, times: 1 });
    upstreamSays(401, 'x'.repeat(500_000));
    const leaving = new AbortController();
    const seen = one.upstream.seen.length;
    const left = client.fetch('/api/x', { signal: leaving.signal }).catch(() => null);
    await expect.poll(() => one.upstream.seen.length).toBeGreaterThan(seen);
    leaving.abort();
    await left;
    one.upstream.respond(undefined);
    expect((await client.fetch('/api/x')).status).toBe(200);
  });

  test('whoever gets no token cannot have it looked into, nor can another status', async () => {
    const { client } = await signedIn();
    const before = asked();
    upstreamSays(401);
    expect((await client.fetch('/plain/x')).status).toBe(401);
    upstreamSays(401, 'no', '200');
    expect((await client.fetch('/api/x')).status).toBe(401);
    expect(asked()).toBe(before);
  });

  test('a route that only reports passes the answer, and says so', async () => {
    const { client, token } = await signedIn();
    one.github.control.revoke(token);
    upstreamSays(401, 'Bad credentials');
    const first = await client.fetch('/tried/x');
    expect([first.status, await first.text()]).toEqual([401, 'Bad credentials']);
    await expect
      .poll(() =>
        one.logLines().filter((line) => line.includes('github-access-denied') && line.includes('/tried')),
      )
      .not.toEqual([]);
  });
});

describe('while GitHub is away', () => {
  let one: TestGateway;
  beforeAll(async () => {
    one = await startTestGateway({ stores: 'sqlite', config: CONFIG });
  });
  afterEach(() => {
    one.upstream.respond(undefined);
    one.github.control.heal();
  });
  afterAll(() => one?.close());

  test.each(['server-error', 'rate-limit-primary'] as const)(
    'GitHub cannot say (%s): the answer passes as it is',
    async (kind) => {
      const { client, token } = await signedInAt(one);
      one.github.control.revoke(token);
      one.github.control.fail(kind, { path: '/user' });
      one.upstream.respond((_request, response) => answer(response, 401, 'Bad credentials', '401'));
      const first = await client.fetch('/api/x');
      expect([first.status, await first.text()]).toEqual([401, 'Bad credentials']);
    },
  );

  test('GitHub does not answer: the answer waits for two seconds', async () => {
    const { client } = await signedInAt(one);
    one.github.control.fail('hang', { path: '/user' });
    one.upstream.respond((_request, response) => answer(response, 401, 'Bad credentials', '401'));
    const startedAt = performance.now();
    expect((await client.fetch('/api/x')).status).toBe(401);
    expect(performance.now() - startedAt).toBeLessThan(4500);
  });
});

async function signedInAt(gateway: TestGateway) {
  const { login } = addPerson(gateway.github);
  const { client } = await signInWithGitHub(gateway, login);
  return { login, client, token: await tokenSeen(client) };
}

function answer(response: ServerResponse, status: number, body: string, githubStatus: string): void {
  response.writeHead(status, {
    'content-type': 'text/plain',
    'content-length': body.length,
    'X-GitHub-Status': githubStatus,
  });
  response.end(body);
}

async function tokenSeen(client: Client): Promise<string> {
  const { headers } = await client.json<{ headers: Record<string, string> }>('/api/x');
  return headers['x-forwarded-access-token'] ?? '';
}
