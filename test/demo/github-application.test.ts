import { DatabaseSync } from 'node:sqlite';
import { betterAuth } from 'better-auth-application';
import { getMigrations } from 'better-auth-application/db/migration';
import { genericOAuth } from 'better-auth-application/plugins';
import { expect, test } from 'vitest';
import type { StandInGitHub } from '../../src/demo/github/server.ts';
import { usingGitHub } from './github-client.ts';

const origin = 'http://127.0.0.1:3000';
const callback = `${origin}/api/auth/oauth2/callback/github`;

test.each([false, true])(
  'another OAuth client signs somebody in (expiring tokens: %s)',
  async (expiringTokens) => {
    await using github = await usingGitHub({ app: { redirectUris: [callback], expiringTokens } });
    using database = new DatabaseSync(':memory:');
    const auth = await createApplication(github, database);

    const signIn = await send(auth, '/sign-in/oauth2', {
      method: 'POST',
      body: JSON.stringify({ providerId: 'github', callbackURL: '/welcome' }),
    });
    const { url } = (await signIn.json()) as { url: string };
    expect(new URL(url).searchParams.get('code_challenge_method')).toBe('S256');

    const location = await github.control.authorize({ url, login: 'octocat' });
    const back = await auth.handler(new Request(location, { headers: { cookie: cookiesOf(signIn) } }));
    expect(back.headers.get('location')).toBe('/welcome');

    const session = await send(auth, '/get-session', { headers: { cookie: cookiesOf(back) } });
    expect(await session.json()).toMatchObject({
      user: { name: 'The Octocat', email: 'octocat@example.com' },
    });
    const account = database.prepare('select "accountId", "accessToken", scope from account').get();
    expect(account).toMatchObject({
      accountId: '583231',
      accessToken: expect.stringMatching(expiringTokens ? /^ghu_/ : /^gho_/),
    });
    expect(github.control.requests.byRoute()).toMatchObject({
      'POST /login/oauth/access_token': 1,
      'GET /user': 1,
      'GET /user/emails': 1,
    });
  },
);

test('another OAuth client gets nobody in whose request was cancelled', async () => {
  await using github = await usingGitHub({ app: { redirectUris: [callback] } });
  using database = new DatabaseSync(':memory:');
  const auth = await createApplication(github, database);
  const signIn = await send(auth, '/sign-in/oauth2', {
    method: 'POST',
    body: JSON.stringify({ providerId: 'github', callbackURL: '/welcome' }),
  });
  const { url } = (await signIn.json()) as { url: string };
  const location = await github.control.authorize({ url, login: 'octocat', decision: 'cancel' });
  const back = await auth.handler(new Request(location, { headers: { cookie: cookiesOf(signIn) } }));
  expect(back.headers.get('location')).toContain('error=access_denied');
  expect(database.prepare('select count(*) as users from "user"').get()).toEqual({ users: 0 });
});

async function createApplication(github: StandInGitHub, database: DatabaseSync) {
  const auth = betterAuth({
    baseURL: origin,
    secret: 'a-secret-of-the-application-under-test-0123',
    database,
    telemetry: { enabled: false },
    plugins: [
      genericOAuth({
        config: [
          {
            providerId: 'github',
            clientId: github.app.clientId,
            clientSecret: github.app.clientSecret,
            authorizationUrl: `${github.url}/login/oauth/authorize`,
            tokenUrl: `${github.url}/login/oauth/access_token`,
            scopes: ['read:user', 'user:email'],
            pkce: true,
            getUserInfo: ({ accessToken }) => readProfile(github.apiUrl, accessToken ?? ''),
          },
        ],
      }),
    ],
  });
  await (await getMigrations(auth.options)).runMigrations();
  return auth;
}

async function readProfile(apiUrl: string, accessToken: string) {
  const headers = { authorization: `Bearer ${accessToken}` };
  const user = (await (await fetch(`${apiUrl}/user`, { headers })).json()) as {
    id: number;
    name: string;
    avatar_url: string;
  };
  const emails = (await (await fetch(`${apiUrl}/user/emails`, { headers })).json()) as {
    email: string;
    primary: boolean;
    verified: boolean;
  }[];
  const email = emails.find((entry) => entry.primary && entry.verified)?.email;
  return { id: String(user.id), name: user.name, image: user.avatar_url, email, emailVerified: true };
}

async function send(
  auth: { handler(request: Request): Promise<Response> },
  path: string,
  init: RequestInit,
): Promise<Response> {
  const headers = { origin, 'content-type': 'application/json', ...init.headers };
  return auth.handler(new Request(`${origin}/api/auth${path}`, { ...init, headers }));
}

function cookiesOf(response: Response): string {
  return response.headers
    .getSetCookie()
    .map((cookie) => cookie.split(';', 1)[0])
    .join('; ');
}
