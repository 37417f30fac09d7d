import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createGitHubClient, type GitHubClient } from '../../src/auth/github.ts';
import { type StandInGitHub, startStandInGitHub } from '../../src/demo/github/server.ts';
import { addPerson } from '../support/person.ts';

let github: StandInGitHub;
let client: GitHubClient;
beforeAll(async () => {
  github = await startStandInGitHub();
  const { clientId: id, clientSecret: secret } = github.app;
  client = createGitHubClient({ url: github.url, apiUrl: github.apiUrl, client: { id, secret } });
});
afterEach(() => {
  github.control.heal();
  github.app.expiringTokens = false;
});
afterAll(() => github?.close());

const classic = (login: string, scopes = ['user:email', 'repo'], expiresAt?: Date) =>
  github.control.issueToken({ login, kind: 'classic', scopes, expiresAt });

describe('reading a person', () => {
  test('gives id, login, name, primary verified e-mail and scopes in the order of GitHub', async () => {
    const person = addPerson(github, {
      emails: [
        { email: 'first@example.net', primary: false, verified: true, visibility: null },
        { email: 'Main@Example.NET', primary: true, verified: true, visibility: 'private' },
      ],
    });
    expect(await client.readPerson(classic(person.login))).toMatchObject({
      id: String(person.id),
      login: person.login,
      name: person.name,
      avatarUrl: expect.stringContaining(String(person.id)),
      email: 'main@example.net',
      tokenKind: 'classic',
      scopes: ['repo', 'user:email'],
      tokenExpiresAt: null,
    });
  });

  test('takes the login for the name of somebody who gave none', async () => {
    const { login } = addPerson(github, { name: null });
    expect(await client.readPerson(classic(login))).toMatchObject({ name: login });
  });

  test('of a fine-grained token knows no scopes', async () => {
    const pat = github.control.issueToken({ login: 'octocat', kind: 'fine-grained' });
    expect(await client.readPerson(pat)).toMatchObject({ tokenKind: 'fine-grained', scopes: null });
  });

  test('knows when a token ends', async () => {
    const end = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
    const token = classic('octocat', ['user:email'], end);
    expect(await client.readPerson(token)).toMatchObject({ tokenExpiresAt: end.getTime() });
  });

  test.each([
    ['newcomer', ['user']],
    ['drifter', ['user']],
    ['octocat', ['repo']],
  ])('of %s with %j finds no usable e-mail', async (login, scopes) => {
    await expect(client.readPerson(classic(login, scopes))).rejects.toMatchObject({
      code: 'email-unverified',
    });
  });

  test('refuses a token GitHub does not know', async () => {
    const revoked = classic('octocat');
    github.control.revoke(revoked);
    for (const token of ['ghp_unknown', revoked, 'x'])
      await expect(client.readPerson(token)).rejects.toMatchObject({
        code: 'github-token-invalid',
        status: 401,
      });
  });

  test.each([
    ['server-error', 502],
    ['bad-json', 502],
    ['rate-limit-primary', 503],
    ['rate-limit-secondary', 503],
  ] as const)('tells %s as GitHub being unavailable, %i, with a time to come back', async (kind, status) => {
    const token = classic('octocat');
    for (const path of ['/user', '/user/emails']) {
      github.control.fail(kind, { path });
      const error = await client.readPerson(token).catch((reason: unknown) => reason);
      github.control.heal();
      expect(error, path).toMatchObject({ code: 'github-unavailable', status });
      expect(Number((error as { headers: Record<string, string> }).headers['retry-after'])).toBeGreaterThan(
        0,
      );
    }
  });

  test('waits as long as a secondary limit says', async () => {
    github.control.fail('rate-limit-secondary', { path: '/user', status: 429 });
    await expect(client.readPerson(classic('octocat'))).rejects.toMatchObject({
      status: 503,
      headers: { 'retry-after': '60' },
    });
  });

  test('puts no token into what it throws', async () => {
    const token = classic('octocat');
    github.control.revoke(token);
    const error = (await client.readPerson(token).catch((reason: unknown) => reason)) as Error;
    expect(JSON.stringify(error) + error.stack + String(error.cause)).not.toContain(token);
  });
});

describe('exchanging a code', () => {
  const redirectUri = 'http://127.0.0.1:8080/api/auth/callback/github';
  const verifier = 'v'.repeat(43);
  const newCode = async (codeChallenge: string) => {
    const query = new URLSearchParams({
      client_id: github.app.clientId,
      redirect_uri: redirectUri,
      scope: 'repo user:email',
      state: 's',
      code_challenge: codeChallenge,
      code_challenge_method: 'S256',
    });
    const url = `${github.url}/login/oauth/authorize?${query}`;
    const back = await github.control.authorize({ url, login: 'octocat' });
    return new URL(back).searchParams.get('code') ?? '';
  };
  const challengeOf = async (text: string) =>
    Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text))).toString('base64url');

  test('gives the token and the scopes that were granted', async () => {
    const code = await newCode(await challengeOf(verifier));
    expect(await client.exchangeCode({ code, codeVerifier: verifier, redirectUri })).toEqual({
      accessToken: expect.stringMatching(/^gho_/),
      refreshToken: null,
      expiresAt: null,
      refreshExpiresAt: null,
      scopes: ['repo', 'user:email'],
    });
  });

  test('gives refresh token and ends of a GitHub App', async () => {
    github.app.expiringTokens = true;
    const code = await newCode(await challengeOf(verifier));
    const grant = await client.exchangeCode({ code, codeVerifier: verifier, redirectUri });
    expect(grant).toMatchObject({
      accessToken: expect.stringMatching(/^ghu_/),
      refreshToken: expect.stringMatching(/^ghr_/),
    });
    expect((grant.expiresAt ?? 0) - Date.now()).toBeGreaterThan(28_700_000);
    expect(grant.refreshExpiresAt ?? 0).toBeGreaterThan(grant.expiresAt ?? 0);
  });

  test('is refused with a used code, a wrong verifier, none, or a wrong redirect', async () => {
    const good = await challengeOf(verifier);
    const used = await newCode(good);
    await client.exchangeCode({ code: used, codeVerifier: verifier, redirectUri });
    const attempts = [
      { code: used, codeVerifier: verifier, redirectUri },
      { code: 'unknown', codeVerifier: verifier, redirectUri },
      { code: await newCode(good), codeVerifier: 'w'.repeat(43), redirectUri },
      { code: await newCode(good), codeVerifier: undefined, redirectUri },
      { code: await newCode(good), codeVerifier: verifier, redirectUri: `${redirectUri}/x` },
    ];
    for (const attempt of attempts)
      await expect(client.exchangeCode(attempt)).rejects.toMatchObject({ code: 'bad-request' });
  });

  test('is refused with a wrong client secret', async () => {
    const { clientId: id } = github.app;
    const other = createGitHubClient({
      url: github.url,
      apiUrl: github.apiUrl,
      client: { id, secret: 'wrong' },
    });
    const code = await newCode(await challengeOf(verifier));
    await expect(other.exchangeCode({ code, codeVerifier: verifier, redirectUri })).rejects.toMatchObject({
      code: 'bad-request',
    });
  });
});
