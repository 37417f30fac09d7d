import { describe, expect, test } from 'vitest';
import { approvedCode, askApi, askToken, authorizeUrl, obtainToken, usingGitHub } from './github-client.ts';

describe('people change', () => {
  test('a renamed person keeps the id and the tokens', async () => {
    await using github = await usingGitHub();
    const { access } = await obtainToken(github);
    github.control.rename('octocat', 'octokitten');
    expect(await (await askApi(github, '/user', access)).json()).toMatchObject({
      id: 583231,
      login: 'octokitten',
    });
    expect(() => github.control.rename('octocat', 'again')).toThrow('octocat');
    expect(() => github.control.rename('octokitten', 'HUBOT')).toThrow('taken');
  });

  test('e-mails can be replaced and people added', async () => {
    await using github = await usingGitHub();
    const emails = [{ email: 'new@example.com', primary: true, verified: true, visibility: null }];
    github.control.setEmails('octocat', emails);
    github.control.addPerson({ id: 99, login: 'defunkt', name: null, emails });
    for (const login of ['octocat', 'defunkt']) {
      const token = github.control.issueToken({ login, kind: 'classic', scopes: ['user'] });
      expect(await (await askApi(github, '/user/emails', token)).json()).toEqual(emails);
    }
    expect(() => github.control.addPerson({ id: 99, login: 'other', name: null, emails })).toThrow('taken');
  });

  test('reset brings the first people back and forgets tokens, codes, counts and failures', async () => {
    await using github = await usingGitHub();
    const { access } = await obtainToken(github);
    const code = await approvedCode(github);
    github.control.rename('octocat', 'octokitten');
    github.control.fail('server-error');
    github.control.reset();
    expect(github.control.requests.total).toBe(0);
    expect((await askApi(github, '/user', access)).status).toBe(401);
    expect((await askToken(github, { code })).body.error).toBe('bad_verification_code');
    expect(github.control.issueToken({ login: 'octocat', kind: 'classic' })).toMatch(/^ghp_/);
  });

  test('ending a token that does not exist is a mistake of the test', async () => {
    await using github = await usingGitHub();
    expect(() => github.control.revoke('gho_unknown')).toThrow('no such token');
    expect(() => github.control.expire('gho_unknown')).toThrow('no such token');
  });

  test('nobody authorizes who is not on the page, or where there is no page', async () => {
    await using github = await usingGitHub();
    const url = authorizeUrl(github);
    await expect(github.control.authorize({ url, login: 'nobody' })).rejects.toThrow('nobody');
    const unknown = authorizeUrl(github, { client_id: 'someone-else' });
    await expect(github.control.authorize({ url: unknown, login: 'octocat' })).rejects.toThrow('404');
  });

  test('callback URLs can be registered while it runs', async () => {
    await using github = await usingGitHub();
    const late = 'http://127.0.0.1:5555/callback';
    github.app.redirectUris.push(late);
    const url = authorizeUrl(github, { redirect_uri: late });
    expect(await github.control.authorize({ url, login: 'octocat' })).toContain(`${late}?code=`);
  });
});

describe('failures', () => {
  test('a primary rate limit is 403 with nothing left', async () => {
    await using github = await usingGitHub();
    github.control.fail('rate-limit-primary', { times: 1, path: '/user' });
    const token = github.control.issueToken({ login: 'octocat', kind: 'classic' });
    const limited = await askApi(github, '/user', token);
    expect(limited.status).toBe(403);
    expect(limited.headers.get('x-ratelimit-remaining')).toBe('0');
    expect(Number(limited.headers.get('x-ratelimit-reset'))).toBeGreaterThan(Date.now() / 1000);
    expect(limited.headers.has('retry-after')).toBe(false);
    expect((await askApi(github, '/user', token)).status).toBe(200);
  });

  test.each([undefined, 429])('a secondary rate limit says when to come back (status %s)', async (status) => {
    await using github = await usingGitHub();
    github.control.fail('rate-limit-secondary', { status });
    const limited = await fetch(`${github.apiUrl}/user`);
    expect(limited.status).toBe(status ?? 403);
    expect(limited.headers.get('retry-after')).toBe('60');
  });

  test.each([undefined, 500])('a server error has its status (%s)', async (status) => {
    await using github = await usingGitHub();
    github.control.fail('server-error', { status });
    expect((await fetch(authorizeUrl(github))).status).toBe(status ?? 502);
  });

  test('bad JSON calls itself JSON', async () => {
    await using github = await usingGitHub();
    github.control.fail('bad-json');
    const response = await fetch(`${github.apiUrl}/user`);
    expect([response.status, response.headers.get('content-type')]).toEqual([
      200,
      'application/json; charset=utf-8',
    ]);
    await expect(response.json()).rejects.toThrow(SyntaxError);
  });

  test('slow answers come late but as always', async () => {
    await using github = await usingGitHub();
    github.control.fail('slow', { ms: 60 });
    const token = github.control.issueToken({ login: 'octocat', kind: 'classic' });
    const before = performance.now();
    expect((await askApi(github, '/user', token)).status).toBe(200);
    expect(performance.now() - before).toBeGreaterThan(50);
  });

  test('a hanging request is ended by close, at once', async () => {
    const github = await usingGitHub();
    github.control.fail('hang', { path: '/user' });
    const outcome = fetch(`${github.apiUrl}/user`).then(
      () => 'answered',
      () => 'ended',
    );
    while (github.control.requests.count('GET /user') === 0) await new Promise(setImmediate);
    await github.close();
    expect(await outcome).toBe('ended');
    await github.close();
  });

  test('hit the paths they name, at the root and below /api/v3, so many times', async () => {
    await using github = await usingGitHub();
    const statuses = async (...urls: string[]) => {
      const answers: number[] = [];
      for (const url of urls) answers.push((await fetch(`${github.url}${url}`)).status);
      return answers;
    };
    github.control.fail('server-error', { path: '/user', times: 2 });
    expect(await statuses('/user/emails', '/user', '/api/v3/user?a=b', '/user')).toEqual([
      401, 502, 502, 401,
    ]);
    github.control.fail('server-error', { path: '/user/**' });
    expect(await statuses('/user', '/api/v3/user/emails', '/users', '/rate_limit')).toEqual([
      502, 502, 404, 200,
    ]);
    github.control.heal();
    expect(await statuses('/user')).toEqual([401]);
  });

  test('can be switched over HTTP', async () => {
    await using github = await usingGitHub();
    const fail = (body: string) => fetch(`${github.url}/_control/fail`, { method: 'POST', body });
    expect((await fail('{"kind":"server-error","path":"/user"}')).status).toBe(204);
    expect((await fetch(`${github.apiUrl}/user`)).status).toBe(502);
    expect((await fetch(`${github.url}/_control/heal`, { method: 'POST' })).status).toBe(204);
    expect((await fetch(`${github.apiUrl}/user`)).status).toBe(401);
    expect((await fail('{"kind":"earthquake"}')).status).toBe(400);
    expect((await fail('{"kind":"hang","times":-1}')).status).toBe(400);
    expect((await fail('not json')).status).toBe(400);
    expect((await fetch(`${github.apiUrl}/user`)).status).toBe(401);
  });
});

test('requests are counted by route, without what clients wrote', async () => {
  await using github = await usingGitHub();
  const { access } = await obtainToken(github);
  await askApi(github, '/user', access);
  await fetch(`${github.url}/user`);
  await fetch(`${github.url}/nowhere/${access}`);
  await fetch(`${github.url}/_control/heal`, { method: 'POST' });
  expect(github.control.requests.byRoute()).toEqual({
    'GET /login/oauth/authorize': 1,
    'POST /login/oauth/authorize': 1,
    'POST /login/oauth/access_token': 1,
    'GET /user': 2,
    'GET (unknown)': 1,
  });
  expect(github.control.requests.total).toBe(6);
});
