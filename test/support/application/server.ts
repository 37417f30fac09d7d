// A process of its own: what stands behind the gateway, with Better Auth 1.5.1 set up as Better Hub has it, on tables that
// were there before the gateway. It does by itself all that it did then: sign-in, sessions, bans, tokens.
import { createServer, type IncomingMessage } from 'node:http';
import { betterAuth } from 'better-auth-application';
import { APIError, createAuthEndpoint } from 'better-auth-application/api';
import { setSessionCookie } from 'better-auth-application/cookies';
import { symmetricEncrypt } from 'better-auth-application/crypto';
import { toNodeHandler } from 'better-auth-application/node';
import { admin } from 'better-auth-application/plugins';
import pg from 'pg';
import * as z from 'zod';

const env = process.env as Record<string, string>;
const SEVEN_DAYS = 7 * 24 * 60 * 60;

// GitHub's addresses are fixed in there: they lead to the stand-in.
const { fetch: plainFetch } = globalThis;
globalThis.fetch = (input, init) => {
  const url = input instanceof Request ? input.url : String(input);
  const moved = url
    .replace('https://github.com', env.GITHUB_URL ?? '')
    .replace('https://api.github.com', env.GITHUB_API_URL ?? '');
  return plainFetch(input instanceof Request ? new Request(moved, input) : moved, init);
};

// As Prisma does, whatever the time zone of the process: times without a zone are UTC.
pg.defaults.parseInputDatesAsUTC = true;
const pool = new pg.Pool({
  connectionString: env.DATABASE_URL,
  types: {
    getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
      oid === 1114
        ? (text: string) => new Date(`${text.replace(' ', 'T')}Z`)
        : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
  },
});

const patSignIn = {
  id: 'pat-signin',
  endpoints: {
    patSignIn: createAuthEndpoint(
      '/pat-signin',
      { method: 'POST', body: z.object({ pat: z.string() }) },
      async (ctx) => {
        const headers = { authorization: `Bearer ${ctx.body.pat}` };
        const answer = await fetch('https://api.github.com/user', { headers });
        if (!answer.ok) throw new APIError('UNAUTHORIZED', { message: 'Invalid GitHub token' });
        const person = (await answer.json()) as { id: number; login: string; name: string | null };
        const { internalAdapter } = ctx.context;
        const accountId = String(person.id);
        const known = await internalAdapter.findAccountByProviderId(accountId, 'github');
        const user = known
          ? await internalAdapter.findUserById(known.userId)
          : await internalAdapter.createUser({
              name: person.name ?? person.login,
              email: `${person.login}@users.noreply.github.com`,
              emailVerified: true,
            });
        if (!user) throw new APIError('INTERNAL_SERVER_ERROR');
        const accessToken = await symmetricEncrypt({ key: ctx.context.secretConfig, data: ctx.body.pat });
        const scope = answer.headers.get('x-oauth-scopes')?.replaceAll(' ', '') ?? '';
        if (known) await internalAdapter.updateAccount(known.id, { accessToken, scope });
        else
          await internalAdapter.createAccount({
            ...{ userId: user.id, providerId: 'github', accountId, accessToken, scope },
          });
        const session = await internalAdapter.createSession(user.id, false);
        await setSessionCookie(ctx, { session, user });
        return ctx.json({ success: true });
      },
    ),
  },
} as const;

/** Stands for what the Stripe plugin adds. */
const subscriptions = {
  id: 'subscription',
  endpoints: {
    list: createAuthEndpoint('/subscription/list', { method: 'GET' }, async (ctx) =>
      ctx.json([{ plan: 'pro' }]),
    ),
    upgrade: createAuthEndpoint('/subscription/upgrade', { method: 'POST' }, async () => {
      throw new APIError('BAD_REQUEST', { message: 'Subscription not found' });
    }),
  },
} as const;

const auth = betterAuth({
  baseURL: env.BETTER_AUTH_URL,
  database: pool,
  trustedOrigins: [env.APPLICATION_URL ?? ''],
  session: { cookieCache: { enabled: true, maxAge: SEVEN_DAYS, strategy: 'jwe' } },
  account: { storeAccountCookie: true, encryptOAuthTokens: true, updateAccountOnSignIn: true },
  user: {
    additionalFields: {
      githubPat: { type: 'string', required: false, returned: false, input: false },
      onboardingDone: { type: 'boolean', required: false, defaultValue: false },
      aiMessageCount: { type: 'number', required: false, defaultValue: 0, input: false },
      lastActiveAt: { type: 'date', required: false, input: false },
    },
  },
  socialProviders: {
    github: {
      clientId: env.GITHUB_CLIENT_ID ?? '',
      clientSecret: env.GITHUB_CLIENT_SECRET ?? '',
      scope: ['read:user', 'user:email', 'public_repo'],
    },
  },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  logger: { level: 'error' },
  plugins: [admin(), patSignIn, subscriptions],
});

const handleAuth = toNodeHandler(auth);

/** What the application itself takes the caller for: by its own Better Auth, from the cookies and the tables. */
async function whoAsks(request: IncomingMessage): Promise<[status: number, body: unknown]> {
  const headers = new Headers();
  for (let at = 0; at < request.rawHeaders.length; at += 2)
    headers.append(request.rawHeaders[at] as string, request.rawHeaders[at + 1] as string);
  const session = await auth.api.getSession({ headers });
  const seen = { headers: request.headers };
  if (!session) return [request.url === '/' ? 200 : 401, { error: 'Unauthorized', ...seen }];
  const token = await auth.api
    .getAccessToken({ body: { providerId: 'github' }, headers })
    .then(({ accessToken }) => accessToken)
    .catch((error: Error) => `no token: ${error.message}`);
  return [200, { ...session, token, ...seen }];
}

const server = createServer(async (request, response) => {
  if (request.url?.startsWith('/api/auth/')) return handleAuth(request, response);
  const [status, body] = await whoAsks(request).catch(
    (error: Error) => [500, { error: error.stack }] as const,
  );
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
});
server.listen(Number(env.PORT), '127.0.0.1', () => process.stdout.write('listening\n'));
process.on('SIGTERM', () => process.exit(0));
