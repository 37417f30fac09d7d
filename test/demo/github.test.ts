import { describe, expect, test } from 'vitest';
import type { StandInGitHub } from '../../src/demo/github/server.ts';
import {
  approvedCode,
  askApi,
  askAsApp,
  askToken,
  authorizeUrl,
  bareStatus,
  callback,
  challenge,
  obtainToken,
  usingGitHub,
  verifier,
} from './github-client.ts';

const octocat = 'octocat';

describe('the authorize page', () => {
  test('answers 404 for a client nobody registered', async () => {
    await using github = await usingGitHub();
    const response = await fetch(authorizeUrl(github, { client_id: 'someone-else' }), { redirect: 'manual' });
    expect(response.status).toBe(404);
    expect(response.headers.get('content-type')).toContain('text/html');
  });

  test.each([
    'http://evil.example/api/auth/callback/github',
    'https://127.0.0.1:8080/api/auth/callback/github',
    'http://127.0.0.1:9999/api/auth/callback/github',
    'http://127.0.0.1:8080@evil.example/api/auth/callback/github',
    'http://someone@127.0.0.1:8080/api/auth/callback/github',
    'http://127.0.0.1:8080/api/auth/callback/github-evil',
    'http://127.0.0.1:8080/api/auth/callback/github/../elsewhere',
    'http://127.0.0.1:8080/api/auth/callback/github/%2e%2e/elsewhere',
    'http://127.0.0.1:8080/api/auth/callback/github/..%2felsewhere',
    'http://127.0.0.1:8080/api/auth',
    'javascript:alert(1)',
    'not a url',
  ])('sends nobody to %s, but tells the registered callback', async (redirect_uri) => {
    await using github = await usingGitHub();
    const location = await visit(github, { redirect_uri });
    expect(location.href.startsWith(`${callback}?`)).toBe(true);
    expect(location.searchParams.get('error')).toBe('redirect_uri_mismatch');
    expect(location.searchParams.get('state')).toBe('xyz');
  });

  test.each([callback, `${callback}/`, `${callback}/deeper?tenant=1`, undefined])(
    'comes back to %s with a code and the state',
    async (redirect_uri) => {
      await using github = await usingGitHub();
      const location = await visit(github, { redirect_uri });
      expect(location.href.startsWith(redirect_uri ?? callback)).toBe(true);
      expect(location.searchParams.get('code')).toMatch(/^[0-9a-f]{20}$/);
      expect(location.searchParams.get('state')).toBe('xyz');
    },
  );

  test('says access_denied when somebody cancels', async () => {
    await using github = await usingGitHub();
    const location = await visit(github, {}, 'cancel');
    expect(Object.fromEntries(location.searchParams)).toEqual({
      error: 'access_denied',
      error_description: 'The user has denied your application access.',
      error_uri: expect.stringContaining('#access-denied'),
      state: 'xyz',
    });
  });

  test.each([
    ['plain', { code_challenge: challenge, code_challenge_method: 'plain' }],
    ['no method', { code_challenge: challenge }],
    ['too short', { code_challenge: 'short', code_challenge_method: 'S256' }],
  ])('refuses a code challenge that is not S256: %s', async (_what, parameters) => {
    await using github = await usingGitHub();
    const location = await visit(github, parameters);
    expect(location.searchParams.get('error')).toBe('invalid_request');
    expect(location.searchParams.has('code')).toBe(false);
  });

  test('escapes what the application and its people wrote', async () => {
    await using github = await usingGitHub({ app: { name: '<b>Hub</b>' } });
    github.control.addPerson({ id: 7, login: 'lt', name: '"><script>alert(1)</script>', emails: [] });
    const page = await (await fetch(authorizeUrl(github, { state: `"'><script>alert(2)</script>` }))).text();
    expect(page).toContain('&lt;script&gt;alert(1)');
    expect(page).toContain('&lt;script&gt;alert(2)');
    expect(page).toContain('&lt;b&gt;Hub');
    expect(page).not.toMatch(/<script|<b>/);
  });

  test('carries the state through the form byte for byte', async () => {
    await using github = await usingGitHub();
    const state = `a"b'c<d>&amp;e+f g%20ü`;
    expect((await visit(github, { state })).searchParams.get('state')).toBe(state);
  });

  test('selects the suggested person, or nobody when the account has to be picked', async () => {
    await using github = await usingGitHub();
    const suggested = await (await fetch(authorizeUrl(github, { login: 'hubot' }))).text();
    expect([...suggested.matchAll(/value="([\w-]+)" required checked/g)].map((match) => match[1])).toEqual([
      'hubot',
    ]);
    const picking = await (await fetch(authorizeUrl(github, { prompt: 'select_account' }))).text();
    expect(picking).toContain('value="hubot" required>');
    expect(picking).not.toContain('checked');
  });

  test('gives no code for somebody it does not know', async () => {
    await using github = await usingGitHub();
    const body = new URLSearchParams({
      client_id: github.app.clientId,
      login: 'nobody',
      decision: 'authorize',
    });
    const url = `${github.url}/login/oauth/authorize`;
    const response = await fetch(url, { method: 'POST', body, redirect: 'manual' });
    expect(response.status).toBe(422);
    expect(response.headers.get('location')).toBeNull();
  });

  test('judges the redirect_uri again when the form comes back', async () => {
    await using github = await usingGitHub();
    const { clientId: client_id } = github.app;
    const body = new URLSearchParams({
      client_id,
      redirect_uri: 'http://evil.example/',
      login: octocat,
      decision: 'authorize',
    });
    const url = `${github.url}/login/oauth/authorize`;
    const response = await fetch(url, { method: 'POST', body, redirect: 'manual' });
    expect(response.headers.get('location')).toContain(`${callback}?error=redirect_uri_mismatch`);
  });
});

describe('the token endpoint', () => {
  const withChallenge = { code_challenge: challenge, code_challenge_method: 'S256' };

  test.each([
    ['a wrong client secret', {}, { client_secret: 'wrong' }, 'incorrect_client_credentials'],
    ['no client secret', {}, { client_secret: undefined }, 'incorrect_client_credentials'],
    ['an unknown client', {}, { client_id: 'someone-else' }, 'incorrect_client_credentials'],
    ['a made-up code', {}, { code: '0123456789abcdef0123' }, 'bad_verification_code'],
    ['no code', {}, { code: undefined }, 'bad_verification_code'],
    ['another redirect_uri', {}, { redirect_uri: `${callback}/other` }, 'redirect_uri_mismatch'],
    ['no verifier', withChallenge, {}, 'bad_verification_code'],
    ['a wrong verifier', withChallenge, { code_verifier: `${verifier}x` }, 'bad_verification_code'],
    ['the challenge as verifier', withChallenge, { code_verifier: challenge }, 'bad_verification_code'],
    ['another grant type', {}, { grant_type: 'password' }, 'unsupported_grant_type'],
  ])('refuses %s with status 200', async (_what, asked, changes, error) => {
    await using github = await usingGitHub();
    const code = await approvedCode(github, asked);
    const answer = await askToken(github, { code, ...changes });
    expect(answer).toEqual({
      status: 200,
      body: { error, error_description: expect.any(String), error_uri: expect.stringMatching(/^https:/) },
    });
  });

  test('takes a code once', async () => {
    await using github = await usingGitHub();
    const code = await approvedCode(github);
    expect((await askToken(github, { code })).body.access_token).toMatch(/^gho_[0-9A-Za-z]{36}$/);
    expect((await askToken(github, { code })).body.error).toBe('bad_verification_code');
  });

  test('takes a code for ten minutes', async () => {
    let now = Date.now();
    await using github = await usingGitHub({ now: () => now });
    const [early, late] = [await approvedCode(github), await approvedCode(github)];
    now += 10 * 60_000;
    expect((await askToken(github, { code: early })).body.access_token).toBeDefined();
    now += 1;
    expect((await askToken(github, { code: late })).body.error).toBe('bad_verification_code');
  });

  test('accepts the right verifier and the same redirect_uri', async () => {
    await using github = await usingGitHub();
    const code = await approvedCode(github, { ...withChallenge, scope: 'user:email' });
    const { body } = await askToken(github, { code, code_verifier: verifier, redirect_uri: callback });
    expect(body).toEqual({
      access_token: expect.stringMatching(/^gho_/),
      token_type: 'bearer',
      scope: 'user:email',
    });
  });

  test('speaks forms, with the client in HTTP Basic, unless asked for JSON', async () => {
    await using github = await usingGitHub();
    const { clientId, clientSecret } = github.app;
    const response = await fetch(`${github.url}/login/oauth/access_token`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`,
      },
      body: new URLSearchParams({ code: await approvedCode(github, { scope: 'gist,repo' }) }),
    });
    expect(response.headers.get('content-type')).toContain('application/x-www-form-urlencoded');
    const answer = Object.fromEntries(new URLSearchParams(await response.text()));
    expect(answer).toEqual({
      access_token: expect.stringMatching(/^gho_/),
      scope: 'gist,repo',
      token_type: 'bearer',
    });
  });

  test('two stand-ins know nothing of each other', async () => {
    await using first = await usingGitHub();
    await using second = await usingGitHub();
    const code = await approvedCode(first);
    expect((await askToken(second, { code })).body.error).toBe('bad_verification_code');
    const { access } = await obtainToken(first);
    expect((await askApi(first, '/user', access)).status).toBe(200);
    expect((await askApi(second, '/user', access)).status).toBe(401);
  });
});

describe('scopes', () => {
  test.each([
    ['', ''],
    ['user,user:email', 'user'],
    ['repo,public_repo', 'repo'],
    ['repo:status public_repo', 'public_repo,repo:status'],
    ['workflow user gist repo', 'gist,repo,user,workflow'],
    ['read:org write:org admin:org', 'admin:org'],
    ['admin:org,read:org', 'admin:org'],
    ['user:email  read:user,user:email', 'read:user,user:email'],
    ['everything user:email', 'user:email'],
    ['constructor toString', ''],
  ])('%j is granted as %j', async (asked, granted) => {
    await using github = await usingGitHub();
    const { access, body } = await obtainToken(github, asked);
    expect(body.scope).toBe(granted);
    const headers = (await askApi(github, '/user', access)).headers;
    expect(headers.get('x-oauth-scopes')).toBe(granted.replaceAll(',', ', '));
  });

  test('without a scope in the request the token gets what was granted before', async () => {
    await using github = await usingGitHub();
    await obtainToken(github, 'user');
    await obtainToken(github, 'repo');
    expect((await obtainToken(github, '')).body.scope).toBe('repo,user');
  });
});

describe('expiring tokens of a GitHub App', () => {
  const app = { expiringTokens: true };

  test('come with a refresh token and without scopes', async () => {
    await using github = await usingGitHub({ app });
    const { body, access } = await obtainToken(github, 'repo');
    expect(body).toEqual({
      access_token: expect.stringMatching(/^ghu_[0-9A-Za-z]{36}$/),
      refresh_token: expect.stringMatching(/^ghr_[0-9A-Za-z]{76}$/),
      expires_in: 28_800,
      refresh_token_expires_in: 15_897_600,
      scope: '',
      token_type: 'bearer',
    });
    const user = await askApi(github, '/user', access);
    expect(user.status).toBe(200);
    expect(user.headers.has('x-oauth-scopes')).toBe(false);
    expect(user.headers.has('x-accepted-oauth-scopes')).toBe(false);
    expect((await askApi(github, '/user/emails', access)).status).toBe(200);
  });

  test('a refresh ends the old pair at once', async () => {
    await using github = await usingGitHub({ app });
    const old = await obtainToken(github);
    const { body } = await askRefresh(github, old.refresh);
    expect(body).toMatchObject({ scope: '', expires_in: 28_800 });
    expect((await askApi(github, '/user', old.access)).status).toBe(401);
    expect((await askApi(github, '/user', String(body.access_token))).status).toBe(200);
    const again = await askRefresh(github, old.refresh);
    expect(again).toMatchObject({ status: 200, body: { error: 'bad_refresh_token' } });
    expect((await askApi(github, '/user', String(body.access_token))).status).toBe(200);
  });

  test('of ten refreshes at the same time one wins', async () => {
    await using github = await usingGitHub({ app });
    const { refresh } = await obtainToken(github);
    const answers = await Promise.all(Array.from({ length: 10 }, () => askRefresh(github, refresh)));
    expect(answers.filter(({ body }) => body.access_token).length).toBe(1);
    expect(answers.filter(({ body }) => body.error === 'bad_refresh_token').length).toBe(9);
    expect([github.control.refreshes, github.control.refusedRefreshes]).toEqual([10, 9]);
  });

  test('end after eight hours, their refresh tokens after six months', async () => {
    let now = Date.now();
    await using github = await usingGitHub({ app, now: () => now });
    const [first, second] = [await obtainToken(github), await obtainToken(github)];
    now += 28_800_000 - 1;
    expect((await askApi(github, '/user', first.access)).status).toBe(200);
    now += 1;
    expect((await askApi(github, '/user', first.access)).status).toBe(401);
    expect((await askRefresh(github, first.refresh)).body.access_token).toBeDefined();
    now += 15_897_600_000;
    expect((await askRefresh(github, second.refresh)).body.error).toBe('bad_refresh_token');
  });

  test.each(['made up', 'expired', 'wrong secret'])('no refresh: %s', async (what) => {
    await using github = await usingGitHub({ app });
    const { refresh } = await obtainToken(github);
    if (what === 'expired') github.control.expire(refresh);
    const text = what === 'made up' ? `ghr_${'0'.repeat(76)}` : refresh;
    const secret = what === 'wrong secret' ? { client_secret: 'wrong' } : {};
    const { body } = await askRefresh(github, text, secret);
    expect(body.error).toBe(what === 'wrong secret' ? 'incorrect_client_credentials' : 'bad_refresh_token');
  });
});

describe('the API', () => {
  test.each([
    ['no token', undefined, 'Requires authentication'],
    ['an unknown token', `Bearer gho_${'0'.repeat(36)}`, 'Bad credentials'],
    ['another scheme', 'Basic b2N0b2NhdDpwdw==', 'Bad credentials'],
  ])('refuses %s', async (_what, authorization, message) => {
    await using github = await usingGitHub();
    const response = await fetch(
      `${github.apiUrl}/user`,
      authorization ? { headers: { authorization } } : {},
    );
    expect(response.status).toBe(401);
    expect(await response.json()).toEqual({ message, documentation_url: expect.any(String), status: '401' });
    expect(response.headers.has('x-oauth-scopes')).toBe(false);
  });

  test.each(['revoke', 'expire'] as const)('refuses a token after %s', async (ending) => {
    await using github = await usingGitHub();
    const { access } = await obtainToken(github);
    expect((await askApi(github, '/user', access)).status).toBe(200);
    github.control[ending](access);
    expect((await askApi(github, '/user', access)).status).toBe(401);
  });

  test('refuses requests without a User-Agent, on the API alone', async () => {
    await using github = await usingGitHub();
    const authorization = `Bearer ${github.control.issueToken({ login: octocat, kind: 'classic' })}`;
    expect(await bareStatus(`${github.apiUrl}/user`, { authorization })).toBe(403);
    expect(await bareStatus(`${github.apiUrl}/user`, { authorization, 'user-agent': 'test' })).toBe(200);
    expect(await bareStatus(authorizeUrl(github), {})).toBe(200);
  });

  test.each(['', '/api/v3'])('tells who somebody is, below %j', async (prefix) => {
    await using github = await usingGitHub();
    const token = github.control.issueToken({ login: octocat, kind: 'classic', scopes: ['user:email'] });
    const headers = { authorization: `token ${token}` };
    const user = await fetch(`${github.url}${prefix}/user`, { headers });
    expect(user.headers.get('x-github-request-id')).toMatch(/^[0-9A-F:]+$/);
    expect(user.headers.get('x-ratelimit-remaining')).toBe('4999');
    expect(await user.json()).toMatchObject({
      id: 583231,
      login: octocat,
      name: 'The Octocat',
      email: 'octocat@example.com',
      avatar_url: expect.stringContaining(github.url),
    });
    const emails = await fetch(`${github.url}${prefix}/user/emails`, { headers });
    expect(await emails.json()).toContainEqual({
      email: 'octocat@example.com',
      primary: true,
      verified: true,
      visibility: 'public',
    });
    const limit = await (await fetch(`${github.url}${prefix}/rate_limit`, { headers })).json();
    expect(limit).toMatchObject({ resources: { core: { limit: 5000, used: 2, remaining: 4998 } } });
  });

  test.each([
    [['user'], 200],
    [['user:email'], 200],
    [['read:user', 'repo'], 404],
    [[], 404],
  ])('a classic token with %j gets status %i for the e-mails', async (scopes, status) => {
    await using github = await usingGitHub();
    const token = github.control.issueToken({ login: octocat, kind: 'classic', scopes });
    const response = await askApi(github, '/user/emails', token);
    expect(response.status).toBe(status);
    expect(response.headers.get('x-accepted-oauth-scopes')).toBe('user, user:email');
  });

  test('a private address is not in /user', async () => {
    await using github = await usingGitHub();
    const token = github.control.issueToken({ login: 'hubot', kind: 'classic', scopes: ['user'] });
    expect(await (await askApi(github, '/user', token)).json()).toMatchObject({
      login: 'hubot',
      email: null,
    });
  });

  test('private repositories need the scope repo', async () => {
    await using github = await usingGitHub();
    const listed = async (scopes: string[]) => {
      const token = github.control.issueToken({ login: octocat, kind: 'classic', scopes });
      return (await (await askApi(github, '/user/repos', token)).json()) as { private: boolean }[];
    };
    expect((await listed(['public_repo'])).map((repository) => repository.private)).toEqual([false, false]);
    expect((await listed(['repo'])).map((repository) => repository.private)).toEqual([false, false, true]);
  });

  test('a classic token tells its scopes and its end', async () => {
    await using github = await usingGitHub();
    const expiresAt = new Date('2099-12-24T10:00:00Z');
    const token = github.control.issueToken({
      login: octocat,
      kind: 'classic',
      scopes: ['user:email', 'user', 'repo'],
      expiresAt,
    });
    expect(token).toMatch(/^ghp_[0-9A-Za-z]{36}$/);
    const { headers } = await askApi(github, '/user', token);
    expect(headers.get('x-oauth-scopes')).toBe('repo, user');
    expect(headers.get('github-authentication-token-expiration')).toBe('2099-12-24 10:00:00 UTC');
  });

  test('a fine-grained token tells no scopes', async () => {
    await using github = await usingGitHub();
    const token = github.control.issueToken({ login: octocat, kind: 'fine-grained' });
    expect(token).toMatch(/^github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}$/);
    const user = await askApi(github, '/user', token);
    expect(user.status).toBe(200);
    expect(user.headers.has('x-oauth-scopes')).toBe(false);
    expect(user.headers.has('x-accepted-oauth-scopes')).toBe(false);
    expect(user.headers.has('github-authentication-token-expiration')).toBe(false);
    expect((await askApi(github, '/user/emails', token)).status).toBe(200);
    const narrow = github.control.issueToken({ login: octocat, kind: 'fine-grained', scopes: [] });
    expect((await askApi(github, '/user/emails', narrow)).status).toBe(403);
  });

  test('keeps ten tokens for a person, an application and its scopes', async () => {
    await using github = await usingGitHub();
    const other = await obtainToken(github, 'repo');
    const tokens: string[] = [];
    for (let made = 0; made < 11; made += 1) tokens.push((await obtainToken(github)).access);
    const statuses = await Promise.all(
      [...tokens, other.access].map(async (token) => (await askApi(github, '/user', token)).status),
    );
    expect(statuses).toEqual([401, ...Array.from({ length: 11 }, () => 200)]);
  });

  test('answers 404 in JSON for what it does not have', async () => {
    await using github = await usingGitHub();
    const response = await fetch(`${github.apiUrl}/no/such/thing`);
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ message: 'Not Found' });
  });
});

describe('an application and its tokens', () => {
  test('checks one', async () => {
    await using github = await usingGitHub();
    const { access } = await obtainToken(github);
    const response = await askAsApp(github, 'POST', 'token', { access_token: access });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      app: { client_id: github.app.clientId },
      user: { login: octocat, id: 583231 },
      scopes: ['user:email'],
    });
  });

  test('ends one, or all of a person', async () => {
    await using github = await usingGitHub();
    const [first, second, third] = [
      await obtainToken(github),
      await obtainToken(github),
      await obtainToken(github),
    ];
    expect((await askAsApp(github, 'DELETE', 'token', { access_token: first.access })).status).toBe(204);
    expect((await askApi(github, '/user', first.access)).status).toBe(401);
    expect((await askApi(github, '/user', second.access)).status).toBe(200);
    expect((await askAsApp(github, 'DELETE', 'grant', { access_token: second.access })).status).toBe(204);
    expect((await askApi(github, '/user', third.access)).status).toBe(401);
    expect((await askAsApp(github, 'POST', 'token', { access_token: third.access })).status).toBe(404);
  });

  test.each([
    ['an unknown token', 'POST', { access_token: 'gho_unknown' }, undefined, 404],
    ['an unknown token', 'DELETE', { access_token: 'gho_unknown' }, undefined, 422],
    ['no token', 'DELETE', {}, undefined, 422],
    ['a wrong secret', 'POST', { access_token: 'gho_unknown' }, 'wrong', 401],
    ['a wrong secret', 'DELETE', { access_token: 'gho_unknown' }, 'wrong', 401],
  ] as const)('refuses %s on %s', async (_what, method, body, secret, status) => {
    await using github = await usingGitHub();
    expect((await askAsApp(github, method, 'token', body, secret)).status).toBe(status);
  });

  test('knows nothing of personal access tokens', async () => {
    await using github = await usingGitHub();
    const token = github.control.issueToken({ login: octocat, kind: 'classic' });
    expect((await askAsApp(github, 'DELETE', 'token', { access_token: token })).status).toBe(422);
    expect((await askApi(github, '/user', token)).status).toBe(200);
  });
});

async function visit(
  github: StandInGitHub,
  parameters: Record<string, string | undefined>,
  decision?: 'authorize' | 'cancel',
): Promise<URL> {
  const url = authorizeUrl(github, parameters);
  return new URL(await github.control.authorize({ url, login: octocat, decision }));
}

async function askRefresh(github: StandInGitHub, refresh: string, changes: object = {}) {
  return askToken(github, { grant_type: 'refresh_token', refresh_token: refresh, ...changes });
}
