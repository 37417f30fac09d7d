// Routes that report instead of refusing, limits of a route, and who keeps their own Authorization.
import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Client,
  cookieHeader,
  createClient,
  signInWithGitHub,
  signInWithToken,
} from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { requestText, sendBytes } from '../support/raw-socket.ts';

const SESSION = 'better-auth.session_token';
const CONFIG = `
upstreams:
  hub: { targets: ["\${UPSTREAM}"], githubToken: forwarded }
  bearer: { targets: ["\${UPSTREAM}"], githubToken: bearer }
routes:
  - { path: /api/**, upstream: hub }
  - { path: /trial/**, upstream: hub, reportOnly: true }
  - { path: /trial/admin/**, upstream: hub, access: { roles: [admin] }, reportOnly: true }
  - { path: /trial/scopes/**, upstream: hub, access: { scopes: [workflow] }, reportOnly: true }
  - { path: /trial/public/**, upstream: hub, access: public, reportOnly: true }
  - { path: /trial/post, methods: [POST], upstream: hub, reportOnly: true, maxBodySize: 1kb }
  - { path: /trial/bearer/**, upstream: bearer, reportOnly: true }
  - { path: /small/**, upstream: hub, maxBodySize: 1kb }
  - { path: /optional/**, upstream: bearer, access: optional }
  - { path: /bearer/**, upstream: bearer }
admins: [monalisa]
`;

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ stores: 'sqlite', config: CONFIG });
});
afterAll(() => gateway.close());

const signedIn = async (login = addPerson(gateway.github).login) =>
  (await signInWithGitHub(gateway, login)).client;
const withCookie = (value: string) => createClient(gateway.url, new Map([[SESSION, value]]));
const signed = (token: string) => {
  const mac = createHmac('sha256', 'a-secret-for-tests-0123456789abcdefghij').update(token).digest('base64');
  return encodeURIComponent(`${token}.${mac}`);
};
const tokenOf = (client: Client) =>
  decodeURIComponent(client.cookies.get(SESSION) ?? '').split('.')[0] as string;
const lastSeen = () => gateway.upstream.seen.at(-1)?.headers ?? {};
/** The lines a request leaves in the log. */
const linesOf = async (response: Response) => {
  const id = response.headers.get('x-request-id') ?? '';
  const lines = () =>
    gateway
      .logLines()
      .filter((line) => line.includes(id))
      .map((line) => JSON.parse(line));
  await expect.poll(() => lines().some(({ msg }) => msg === 'request')).toBe(true);
  return {
    request: lines().find(({ msg }) => msg === 'request'),
    others: lines().filter(({ msg }) => msg !== 'request'),
  };
};
/** Passes, and says in record and log what it would have been refused for. */
async function expectReported(response: Response, reason: string, announced: boolean): Promise<void> {
  expect(response.status, reason).toBe(200);
  expect(lastSeen()['x-forwarded-user'], reason).toEqual(announced ? expect.any(String) : undefined);
  expect(Object.keys(lastSeen()).filter((name) => /^x-gateway|access-token/.test(name)).length > 0).toBe(
    announced,
  );
  expect(lastSeen().cookie).toBeUndefined();
  const { request, others } = await linesOf(response);
  expect(request).toMatchObject({ decision: 'report', reason, status: 200 });
  expect(others).toEqual([expect.objectContaining({ level: 'info', reason, route: request.route })]);
}

describe('a route that only reports', () => {
  test('passes who is not signed in as anonymous', async () => {
    await expectReported(await createClient(gateway.url).curl('/trial/x'), 'no-session-cookie', false);
    await expectReported(await withCookie('x').curl('/trial/x'), 'session-invalid', false);
    await expectReported(await withCookie(signed('C'.repeat(32))).curl('/trial/x'), 'session-expired', false);
    const navigated = await createClient(gateway.url).navigate('/trial/x');
    await expectReported(navigated, 'no-session-cookie', false);
  });

  test('passes who lacks a role or a scope, and says who it is', async () => {
    const client = await signedIn();
    await expectReported(await client.curl('/trial/admin/x'), 'role-missing', true);
    await expectReported(await client.curl('/trial/scopes/x'), 'scope-missing', true);
  });

  test('passes what another site sent, and says who it is', async () => {
    const client = await signedIn();
    const headers = { origin: 'https://evil.example', 'content-length': '0' };
    await expectReported(
      await client.curl('/trial/x', { method: 'POST', headers }),
      'cross-site-request',
      true,
    );
    const inPublic = await client.curl('/trial/public/x', { method: 'POST', headers });
    await expectReported(inPublic, 'cross-site-request', false);
  });

  test('passes a banned person as anonymous', async () => {
    const client = await signedIn();
    expect((await client.curl('/api/x')).status).toBe(200);
    await gateway.store.query(
      `update "user" set banned = $1 where id = (select "userId" from session where token = $2)`,
      ...[1, tokenOf(client)],
    );
    await expect.poll(async () => (await client.curl('/api/x')).status).toBe(403);
    await expectReported(await client.curl('/trial/x'), 'user-banned', false);
  });

  test('passes an administrator who acts as somebody else, and says both', async () => {
    const client = await signedIn();
    const admin = await signedIn('monalisa');
    const { user } = await admin.json<{ user: { id: string } }>('/api/auth/get-session');
    await gateway.store.query(
      `update session set "impersonatedBy" = $1 where token = $2`,
      ...[user.id, tokenOf(client)],
    );
    const post = () => client.curl('/api/x', { method: 'POST', headers: { 'content-length': '0' } });
    await expect.poll(async () => (await post()).status).toBe(403);
    const answer = await client.curl('/trial/x', { method: 'POST', headers: { 'content-length': '0' } });
    await expectReported(answer, 'impersonation-read-only', true);
    expect(lastSeen()['x-gateway-impersonated-by']).toBe(user.id);
  });

  test('passes who has no usable token, announced without one and with their own Authorization', async () => {
    const client = await withoutToken();
    const headers = { authorization: 'Basic b3du' };
    const answer = await client.curl('/trial/bearer/x', { headers });
    expect([answer.status, lastSeen().authorization]).toEqual([200, 'Basic b3du']);
    expect(lastSeen()['x-forwarded-user']).toEqual(expect.any(String));
    expect((await linesOf(answer)).request).toMatchObject({ decision: 'report', reason: 'reauth-required' });
  });

  test('reports nothing of who may pass', async () => {
    const client = await signedIn('monalisa');
    const answer = await client.curl('/trial/admin/x');
    expect(answer.status).toBe(200);
    const { request, others } = await linesOf(answer);
    expect([request.decision, request.reason, others]).toEqual(['allow', null, []]);
  });

  test('still refuses other methods, bodies too large and paths of two readings', async () => {
    const client = await signedIn();
    expect((await client.curl('/trial/post')).status).toBe(405);
    const body = 'x'.repeat(1025);
    expect((await client.curl('/trial/post', { method: 'POST', body })).status).toBe(413);
    expect((await client.curl('/trial//x')).status).toBe(400);
  });

  test('is told to the operator at start', () => {
    expect(gateway.logLines().filter((line) => line.includes('/trial/admin/**'))).toContainEqual(
      expect.stringContaining('reportOnly'),
    );
  });
});

test('a route that only reports passes everybody while no store answers', async () => {
  const away = await startTestGateway({ stores: 'postgres', config: CONFIG });
  const other = await away.another();
  try {
    const { cookies } = await signInWithToken(away);
    await away.store.query('alter table session rename to session_away');
    // The one gateway may remember the session; the other has never seen it.
    const client = createClient(other.url, cookies);
    const refused = await client.curl('/api/x');
    expect([refused.status, (await refused.json()).code]).toEqual([503, 'session-store-unavailable']);
    const passed = await client.curl('/trial/x');
    expect([passed.status, away.upstream.seen.at(-1)?.headers['x-forwarded-user']]).toEqual([200, undefined]);
    const id = passed.headers.get('x-request-id') ?? '';
    const lines = () => other.logLines().filter((line) => line.includes(id));
    await expect
      .poll(() => lines().join())
      .toMatch(/"decision":"report","reason":"session-store-unavailable"/);
  } finally {
    await other.close();
    await away.close();
  }
});

describe('the largest body of a route', () => {
  const upload = async (client: Client, path: string, length: number) => {
    const headers = [`Cookie: ${cookieHeader(client.cookies)}`, `Content-Length: ${length}`];
    return sendBytes(
      gateway.url,
      `${requestText(path, headers, 'POST')}${'x'.repeat(Math.min(length, 4096))}`,
    );
  };

  test('is insisted on before anything goes up, by what a request says of its length', async () => {
    const client = await signedIn();
    const before = gateway.upstream.seen.length;
    for (const length of [1025, 4096]) {
      const answer = await upload(client, '/small/x', length);
      expect([answer.status, JSON.parse(answer.body).code]).toEqual([413, 'body-too-large']);
    }
    expect(gateway.upstream.seen.length).toBe(before);
    for (const length of [0, 1, 1024]) expect((await upload(client, '/small/x', length)).status).toBe(200);
    expect((await upload(client, '/api/x', 4096)).status, 'of no other route').toBe(200);
  });

  test('is nothing that strangers learn', async () => {
    expect((await upload(createClient(gateway.url), '/small/x', 4096)).status).toBe(401);
  });
});

/** Somebody whose GitHub token cannot be read. */
async function withoutToken(): Promise<Client> {
  const client = await signedIn();
  await gateway.store.query(
    `update account set "accessToken" = null where "userId" = (select "userId" from session where token = $1)`,
    tokenOf(client),
  );
  await expect.poll(async () => (await client.curl('/bearer/x')).status).toBe(401);
  return client;
}

test('on an optional route to a bearer upstream only a token takes the place of a client’s Authorization', async () => {
  const headers = { authorization: 'Basic b3du' };
  const without = await withoutToken();
  expect((await without.curl('/optional/x', { headers })).status).toBe(200);
  expect(lastSeen().authorization).toBe('Basic b3du');
  expect(lastSeen()['x-forwarded-user']).toEqual(expect.any(String));
  const client = await signedIn();
  expect((await client.curl('/optional/x', { headers })).status).toBe(200);
  expect(lastSeen().authorization).toMatch(/^Bearer gho_/);
  expect((await createClient(gateway.url).curl('/optional/x', { headers })).status).toBe(200);
  expect(lastSeen().authorization).toBe('Basic b3du');
});
