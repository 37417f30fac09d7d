import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { dumpRedis } from '../support/redis.ts';
import { type SendOptions, send } from '../support/send.ts';

let addresses = 0;
/** Five tries a minute an address: each test comes from its own. */
function freshAddress(): string {
  addresses += 1;
  return `127.1.${addresses >> 8}.${addresses & 255 || 1}`;
}

/** @param pat anything: the body is sent as it is when it is no token */
function signIn(gateway: { url: string }, body: unknown, options: SendOptions = {}): Promise<Response> {
  return send(`${gateway.url}/api/auth/pat-signin`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    from: freshAddress(),
    ...options,
  });
}

function clientOf(gateway: { url: string }, response: Response) {
  const pairs = response.headers.getSetCookie().map((line) => line.split(';', 1)[0]?.split('=') ?? []);
  return createClient(
    gateway.url,
    new Map(pairs.map(([name = '', ...value]) => [name, value.join('=')] as const)),
  );
}

interface AccountRow {
  userId: string;
  scope: string;
  accessToken: string;
  refreshToken: string | null;
  accessTokenExpiresAt: unknown;
  refreshTokenExpiresAt: unknown;
}

describe.each(['postgres+redis', 'sqlite'] as const)('signing in with a token, on %s', (stores) => {
  let gateway: TestGateway;
  beforeAll(async () => {
    gateway = await startTestGateway({ stores, logLevel: 'debug' });
  });
  afterEach(() => {
    gateway.github.control.heal();
    gateway.github.app.expiringTokens = false;
  });
  afterAll(() => gateway.close());

  const classic = (login: string, scopes = ['read:user', 'user:email', 'repo']) =>
    gateway.github.control.issueToken({ login, kind: 'classic', scopes });
  const accountsOf = (githubId: number) =>
    gateway.store.query<AccountRow>(`select * from account where "accountId" = $1`, String(githubId));
  const userCount = async () =>
    Number((await gateway.store.query<{ n: unknown }>(`select count(*) as n from "user"`))[0]?.n);

  test('a good token is answered {"success":true} with cookies that open the routes', async () => {
    const { login } = addPerson(gateway.github);
    const response = await signIn(gateway, { pat: classic(login) });
    expect([response.status, await response.json()]).toEqual([200, { success: true }]);
    expect(response.headers.get('cache-control')).toBe('no-store');
    const names = response.headers.getSetCookie().map((line) => line.split('=', 1)[0]);
    expect(names).toEqual(expect.arrayContaining(['better-auth.session_token', 'better-auth.session_data']));
    expect(await clientOf(gateway, response).json('/api/home')).toMatchObject({
      headers: { 'x-forwarded-preferred-username': login, 'x-gateway-scopes': 'read:user,repo,user:email' },
    });
  });

  test('a classic token lists its scopes, a fine-grained one has none that are known', async () => {
    const { login } = addPerson(gateway.github);
    const listed = clientOf(gateway, await signIn(gateway, { pat: classic(login, ['user', 'gist']) }));
    expect(await listed.json('/api/user-scopes')).toEqual({ scopes: ['gist', 'user'] });
    const pat = gateway.github.control.issueToken({ login, kind: 'fine-grained' });
    const unknown = clientOf(gateway, await signIn(gateway, { pat }));
    for (const client of [unknown, listed])
      expect(await client.json('/api/user-scopes')).toEqual({ scopes: [], known: false });
    const refused = await unknown.fetch('/api/workflows/1');
    expect([refused.status, await refused.json()]).toEqual([
      403,
      expect.objectContaining({ code: 'scopes-unknown', requiredScopes: ['workflow'] }),
    ]);
  });

  test('a token replaces everything an expiring OAuth sign-in left, and the reverse', async () => {
    const { id, login } = addPerson(gateway.github);
    gateway.github.app.expiringTokens = true;
    const { client } = await signInWithGitHub(gateway, login);
    const [app] = await accountsOf(id);
    expect(app).toMatchObject({
      refreshToken: expect.any(String),
      accessTokenExpiresAt: expect.anything(),
      refreshTokenExpiresAt: expect.anything(),
      scope: '',
    });
    expect(await client.json('/api/user-scopes')).toEqual({ scopes: [], known: false });
    const pat = classic(login, ['repo', 'user:email']);
    expect((await signIn(gateway, { pat })).status).toBe(200);
    const [byToken] = await accountsOf(id);
    expect(byToken).toMatchObject({
      userId: app?.userId,
      refreshToken: null,
      accessTokenExpiresAt: null,
      refreshTokenExpiresAt: null,
      scope: 'repo,user:email',
    });
    expect(await client.json('/api/home')).toMatchObject({ headers: { 'x-forwarded-access-token': pat } });
    gateway.github.app.expiringTokens = false;
    await signInWithGitHub(gateway, login);
    expect(await accountsOf(id)).toEqual([
      expect.objectContaining({ refreshToken: null, scope: 'public_repo,read:user,user:email' }),
    ]);
    expect(await client.json('/api/home')).toMatchObject({
      headers: { 'x-forwarded-access-token': expect.stringMatching(/^gho_/) },
    });
  });

  test('when a token ends is kept', async () => {
    const { id, login } = addPerson(gateway.github);
    const expiresAt = new Date(Date.now() + 86_400_000);
    const pat = gateway.github.control.issueToken({
      login,
      kind: 'classic',
      scopes: ['user:email'],
      expiresAt,
    });
    expect((await signIn(gateway, { pat })).status).toBe(200);
    const [row] = await gateway.store.query<{ tokenExpiresAt: string | Date }>(
      `select "tokenExpiresAt" from gateway_github_profile where "githubId" = $1`,
      String(id),
    );
    expect(Math.abs(new Date(row?.tokenExpiresAt ?? 0).getTime() - expiresAt.getTime())).toBeLessThan(2000);
  });

  test.each(['unknown', 'revoked', 'expired'])(
    'a token that is %s is answered 401, and nobody is made',
    async (state) => {
      const { login } = addPerson(gateway.github);
      const pat = state === 'unknown' ? `ghp_${'x'.repeat(36)}` : classic(login);
      if (state === 'revoked') gateway.github.control.revoke(pat);
      if (state === 'expired') gateway.github.control.expire(pat);
      const before = await userCount();
      const response = await signIn(gateway, { pat });
      expect([response.status, await response.json()]).toEqual([
        401,
        expect.objectContaining({ message: 'Invalid GitHub token', code: 'github-token-invalid' }),
      ]);
      expect(response.headers.getSetCookie()).toEqual([]);
      expect(await userCount()).toBe(before);
    },
  );

  test('without a verified primary e-mail, or the right to read it, 400 says what to do', async () => {
    const { login } = addPerson(gateway.github);
    const blind = gateway.github.control.issueToken({ login, kind: 'fine-grained', scopes: ['read:user'] });
    for (const pat of [classic('newcomer'), classic('drifter'), classic(login, ['repo']), blind]) {
      const response = await signIn(gateway, { pat });
      expect([response.status, await response.json()]).toEqual([
        400,
        expect.objectContaining({ code: 'email-unverified', message: expect.stringMatching(/verify/i) }),
      ]);
    }
  });

  const faults = (['/user', '/user/emails'] as const).flatMap((path) =>
    (['server-error', 'bad-json', 'rate-limit-primary', 'rate-limit-secondary'] as const).map(
      (kind) => [kind, path] as const,
    ),
  );
  test.each(faults)('%s at %s is GitHub being away, not a bad token', async (kind, path) => {
    const { id, login } = addPerson(gateway.github);
    const pat = classic(login);
    gateway.github.control.fail(kind, { path });
    const response = await signIn(gateway, { pat });
    expect([response.status, await response.json()]).toEqual([
      kind.startsWith('rate-limit') ? 503 : 502,
      expect.objectContaining({ code: 'github-unavailable', message: expect.any(String) }),
    ]);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await accountsOf(id)).toEqual([]);
  });

  test('GitHub that hangs is answered 502 within seconds', async () => {
    const pat = classic(addPerson(gateway.github).login);
    gateway.github.control.fail('hang', { path: '/user/emails' });
    const startedAt = performance.now();
    expect((await signIn(gateway, { pat })).status).toBe(502);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  });

  test.each([
    ['text/plain', 415],
    ['application/x-www-form-urlencoded', 415],
    ['multipart/form-data; boundary=x', 415],
    ['application/json; charset=utf-8', 200],
    ['APPLICATION/JSON', 200],
  ])('Content-Type %s is answered %i', async (type, status) => {
    const body = { pat: classic(addPerson(gateway.github).login) };
    const response = await signIn(gateway, body, { headers: { 'content-type': type } });
    expect(response.status, await response.clone().text()).toBe(status);
  });

  test.each([
    '{',
    '',
    '[]',
    'null',
    '"ghp_x"',
    '{}',
    '{"pat":""}',
    '{"pat":42}',
    '{"pat":null}',
    '{"pat":["a"]}',
  ])('the body %j is answered 400', async (body) => {
    const response = await signIn(gateway, body);
    expect([response.status, await response.json()]).toEqual([
      400,
      expect.objectContaining({ message: expect.any(String) }),
    ]);
  });

  test('a body beyond the limit is answered 413', async () => {
    expect((await signIn(gateway, { pat: 'x'.repeat(200_000) })).status).toBe(413);
  });

  test('the sixth try within a minute waits, whatever X-Forwarded-For says', async () => {
    const from = freshAddress();
    const pat = `ghp_${'y'.repeat(36)}`;
    const statuses: number[] = [];
    for (let attempt = 1; attempt <= 6; attempt++) {
      const headers = { 'content-type': 'application/json', 'x-forwarded-for': `203.0.113.${attempt}` };
      const response = await signIn(gateway, { pat }, { from, headers });
      statuses.push(response.status);
      if (response.status !== 429) continue;
      expect(await response.json()).toMatchObject({ code: 'rate-limited', message: expect.any(String) });
      const wait = Number(response.headers.get('retry-after'));
      expect(wait).toBeGreaterThan(0);
      expect(wait).toBeLessThanOrEqual(60);
    }
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429]);
    expect((await signIn(gateway, { pat })).status, 'another address').toBe(401);
  });

  test('no token of GitHub and no session token stands in store, Redis or log', async () => {
    const { login } = addPerson(gateway.github);
    gateway.github.app.expiringTokens = true;
    const { client: byOAuth } = await signInWithGitHub(gateway, login);
    const { headers } = await byOAuth.json<{ headers: Record<string, string> }>('/api/home');
    const oauthToken = headers['x-forwarded-access-token'] ?? '';
    expect(oauthToken).toMatch(/^ghu_/);
    const dumpWhileOAuth = await gateway.store.dump();
    const pat = classic(login);
    const byToken = clientOf(gateway, await signIn(gateway, { pat }));
    await byToken.fetch('/api/home');
    await signIn(gateway, { pat: `${pat}x` });
    const sessionTokens = [byOAuth, byToken].map((client) =>
      decodeURIComponent(client.cookies.get('better-auth.session_token') ?? '').slice(0, 32),
    );
    expect(sessionTokens).toEqual([
      expect.stringMatching(/^[A-Za-z0-9]{32}$/),
      expect.stringMatching(/^[A-Za-z0-9]{32}$/),
    ]);
    const dump = dumpWhileOAuth + (await gateway.store.dump());
    expect(dump).toMatch(/v1\.[\w-]+\.[\w-]{16}\.[\w-]{22}\./);
    // The session's own row holds its token: Better Auth looks it up by it.
    for (const token of [oauthToken, pat]) expect(dump.includes(token), token).toBe(false);
    expect(dump).not.toMatch(/ghr_\w{20}/);
    const log = gateway.logLines().join('\n');
    expect(log).toContain('/api/auth/pat-signin');
    for (const token of [oauthToken, pat, ...sessionTokens]) expect(log.includes(token), token).toBe(false);
    if (gateway.config.redisUrl === null) return;
    const cached = await dumpRedis(gateway.config.redisUrl);
    expect(cached).toContain('gateway:session:');
    for (const token of [oauthToken, pat, ...sessionTokens])
      expect(cached.includes(token), token).toBe(false);
  });
});

test('two gateways on one Redis count the tries together', async () => {
  const gateway = await startTestGateway();
  const second = await gateway.another();
  try {
    const from = freshAddress();
    const statuses: number[] = [];
    for (let attempt = 1; attempt <= 6; attempt++) {
      const response = await signIn(attempt % 2 ? gateway : second, { pat: 'ghp_no' }, { from });
      statuses.push(response.status);
    }
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429]);
  } finally {
    await second.close();
    await gateway.close();
  }
});

test('behind a trusted proxy the tries of its clients are counted one by one', async () => {
  const config = `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes: [{ path: /**, upstream: hub, access: session }]
trustedProxies: [127.9.9.9]
`;
  const gateway = await startTestGateway({ stores: 'sqlite', config });
  try {
    const attempt = (client: string) =>
      signIn(
        gateway,
        { pat: 'ghp_no' },
        {
          from: '127.9.9.9',
          headers: { 'content-type': 'application/json', 'x-forwarded-for': `1.2.3.4, ${client}` },
        },
      );
    for (let tries = 0; tries < 5; tries++) expect((await attempt('198.51.100.1')).status).toBe(401);
    expect((await attempt('198.51.100.1')).status).toBe(429);
    expect((await attempt('198.51.100.2')).status).toBe(401);
    for (let tries = 0; tries < 5; tries++)
      expect((await attempt(`2001:db8:1:2::${tries + 1}`)).status).toBe(401);
    expect((await attempt('2001:db8:1:2:ffff::1')).status, 'one IPv6 /64 is one client').toBe(429);
    expect((await attempt('2001:db8:1:3::1')).status).toBe(401);
  } finally {
    await gateway.close();
  }
});

test('a page of another site cannot sign a person in as somebody else', async () => {
  const gateway = await startTestGateway({ stores: 'sqlite' });
  try {
    const pat = gateway.github.control.issueToken({ login: 'octocat', kind: 'classic', scopes: ['user'] });
    const init = post({ pat });
    const response = await send(`${gateway.url}/api/auth/pat-signin`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: 'https://evil.example' },
      body: String(init.body),
    });
    expect([response.status, await response.json()]).toEqual([
      403,
      expect.objectContaining({ code: 'cross-site-request' }),
    ]);
    expect(response.headers.getSetCookie()).toEqual([]);
  } finally {
    await gateway.close();
  }
});
