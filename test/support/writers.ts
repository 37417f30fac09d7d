// Who may change what a session stands on: a gateway, another application on the same database, or plain SQL.
import { betterAuth } from 'better-auth-application';
import { admin } from 'better-auth-application/plugins';
import pg from 'pg';
import type { StandInGitHub } from '../../src/demo/github/server.ts';
import { type Client, cookieHeader, createClient, post } from './browser-like.ts';

/** One session: the client that holds it, and the rows it stands on. */
export interface Subject {
  readonly client: Client;
  readonly login: string;
  readonly userId: string;
  readonly token: string;
}

export const CHANGES = [
  'sign-out',
  'revoke one',
  'revoke all',
  'ban',
  'unban',
  'role',
  'token and scopes',
  'user deletion',
  'impersonation end',
] as const;

export type Change = (typeof CHANGES)[number];

export interface Writer {
  /** Settles when the writer was told that it is done. Throws when it was refused. */
  write(change: Change, subject: Subject): Promise<void>;
  close(): Promise<void>;
}

interface Running {
  readonly url: string;
  readonly github: StandInGitHub;
}

/** @param administrator signed in, at whichever gateway */
export function gatewayWriter({ url, github }: Running, administrator: Client): Writer {
  const ask: Ask = (cookies, path, body) => createClient(url, cookies).fetch(path, post(body));
  const write = apiWriter(ask, administrator);
  return {
    write: (change, subject) =>
      change === 'token and scopes' ? signInAgain({ url, github }, subject) : write(change, subject),
    close: async () => {},
  };
}

/** Better Auth as the Better Hub application runs it: it knows nothing of the gateway but the secret. */
export function applicationWriter(
  { url, databaseUrl, secret }: { url: string; databaseUrl: string; secret: string },
  administrator: Client,
): Writer {
  const database = new pg.Pool({ connectionString: databaseUrl, max: 3 });
  const application = betterAuth({
    baseURL: url,
    secret,
    database,
    telemetry: { enabled: false },
    rateLimit: { enabled: false },
    session: { cookieCache: { enabled: true, strategy: 'jwe' } },
    plugins: [admin()],
  });
  const ask: Ask = (cookies, path, body) => {
    const { headers, ...init } = post(body);
    const sent = { ...(headers as object), origin: url, cookie: cookieHeader(cookies) };
    return application.handler(new Request(`${url}${path}`, { ...init, headers: sent }));
  };
  const write = apiWriter(ask, administrator);
  const changeAccount = async ({ userId }: Subject) => {
    const { internalAdapter } = await application.$context;
    const [account] = await internalAdapter.findAccounts(userId);
    await internalAdapter.updateAccount(account?.id ?? '', {
      scope: 'repo,user:email',
      updatedAt: new Date(),
    });
  };
  return {
    write: (change, subject) =>
      change === 'token and scopes' ? changeAccount(subject) : write(change, subject),
    close: () => database.end(),
  };
}

/** Statements somebody types. */
export async function sqlWriter(databaseUrl: string): Promise<Writer> {
  const sql = new pg.Client({ connectionString: databaseUrl });
  await sql.connect();
  const ofUser: Partial<Record<Change, string>> = {
    'revoke all': 'delete from session where "userId" = $1',
    ban: 'update "user" set banned = true where id = $1',
    unban: 'update "user" set banned = false where id = $1',
    role: `update "user" set role = 'admin' where id = $1`,
    'token and scopes': `update account set scope = 'repo', "accessToken" = null where "userId" = $1`,
    'user deletion': 'delete from "user" where id = $1',
  };
  return {
    async write(change, { userId, token }) {
      const statement = ofUser[change];
      const { rowCount } = statement
        ? await sql.query(statement, [userId])
        : await sql.query('delete from session where token = $1', [token]);
      if (rowCount === 0) throw new Error(`${change}: there was nothing to change`);
    },
    close: () => sql.end(),
  };
}

type Ask = (cookies: Map<string, string>, path: string, body: object) => Promise<Response>;

/** Better Auth's endpoints, wherever they are served. */
function apiWriter(ask: Ask, administrator: Client) {
  return async (change: Change, { client, token, userId }: Subject): Promise<void> => {
    const own = (path: string, body = {}) => ask(client.cookies, `/api/auth/${path}`, body);
    const command = (name: string, body: object = {}) =>
      ask(administrator.cookies, `/api/auth/admin/${name}`, { userId, ...body });
    const changes: Partial<Record<Change, () => Promise<Response>>> = {
      'sign-out': () => own('sign-out'),
      'revoke one': () => own('revoke-session', { token }),
      'revoke all': () => own('revoke-sessions'),
      ban: () => command('ban-user'),
      unban: () => command('unban-user'),
      role: () => command('set-role', { role: 'admin' }),
      'user deletion': () => command('remove-user'),
      'impersonation end': () => own('admin/stop-impersonating'),
    };
    await succeed(change, await changes[change]?.());
  };
}

/** Tries are counted by address: each comes from its own. */
async function signInAgain({ url, github }: Running, { login }: Subject): Promise<void> {
  const pat = github.control.issueToken({ login, kind: 'classic', scopes: ['repo', 'user:email'] });
  const byte = () => Math.floor(Math.random() * 256);
  const response = await createClient(url).curl('/api/auth/pat-signin', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ pat }),
    from: `127.${1 + (byte() % 254)}.${byte()}.${1 + (byte() % 254)}`,
  });
  await succeed('a new sign-in', response);
}

async function succeed(what: string, response: Response | undefined): Promise<void> {
  if (response?.status !== 200)
    throw new Error(`${what} was answered ${response?.status}: ${await response?.text()}`);
  await response.arrayBuffer();
}
