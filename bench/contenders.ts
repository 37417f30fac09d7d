// Who is measured: each a server process in front of the same upstream, and the request it is sent.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStandInGitHub } from '../src/demo/github/server.ts';
import { freePort } from '../test/support/servers/port.ts';
import { runPostgres } from '../test/support/servers/postgres-server.ts';
import { runRedis } from '../test/support/servers/redis-server.ts';
import { startGateway, startServer } from './processes.ts';

export interface Contender {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  readonly headers: Record<string, string>;
  readonly expectedStatus: number;
}

const here = (path: string) => new URL(path, import.meta.url).pathname;

// As much as an application's own cookies usually weigh; every contender is sent them.
const OTHER_COOKIES = `theme=dark; _session_hint=${'a'.repeat(80)}; consent=${'b'.repeat(120)}`;
// Two secret-like cookies of Better Auth, sent to all so that nobody has less to read.
const GHOST_SESSION = `better-auth.session_token=${'A'.repeat(32)}.${'B'.repeat(43)}%3D; better-auth.session_data=${'C'.repeat(1000)}`;

/** Starts everyone; whatever is put on `opened` ends with it. */
export async function startContenders(opened: AsyncDisposableStack): Promise<Contender[]> {
  const upstream = await startServer(here('servers/upstream.ts'), [], 1);
  opened.defer(() => upstream.close());
  const anonymous = { cookie: `${OTHER_COOKIES}; ${GHOST_SESSION}` };
  const contenders: Contender[] = [contender('direct to the upstream', upstream, anonymous)];
  for (const [name, script] of [
    ['node:http + undici (floor)', 'servers/floor.ts'],
    ['@fastify/http-proxy, no auth', 'servers/http-proxy.ts'],
  ] as const) {
    const server = await startServer(here(script), [upstream.url], 0);
    opened.defer(() => server.close());
    contenders.push(contender(name, server, anonymous));
  }
  return [...contenders, ...(await startGateways(upstream.url, opened))];
}

async function startGateways(upstreamUrl: string, opened: AsyncDisposableStack): Promise<Contender[]> {
  const postgres = await runPostgres();
  opened.defer(() => postgres.close());
  const redis = await runRedis();
  opened.defer(() => redis.close());
  const github = await startStandInGitHub();
  opened.defer(() => github.close());
  const shared = await gateway(
    { DATABASE_URL: postgres.url, REDIS_URL: redis.url },
    upstreamUrl,
    github,
    opened,
  );
  const store = await gateway({ DATABASE_URL: postgres.url }, upstreamUrl, github, opened);
  const file = await gateway({}, upstreamUrl, github, opened);
  return [
    contender('gateway, Redis hit', shared, shared.signedIn),
    contender('gateway, Postgres', store, store.signedIn),
    contender('gateway, embedded file', file, file.signedIn),
    contender('gateway, 401 forged cookie', file, { cookie: `${OTHER_COOKIES}; ${GHOST_SESSION}` }, 401),
    contender('gateway, 401 no cookie', file, { cookie: OTHER_COOKIES }, 401),
  ];
}

type GitHub = Awaited<ReturnType<typeof startStandInGitHub>>;

async function gateway(
  stores: NodeJS.ProcessEnv,
  upstreamUrl: string,
  github: GitHub,
  opened: AsyncDisposableStack,
) {
  const dir = await mkdtemp(join(tmpdir(), 'gateway-bench-'));
  opened.defer(() => rm(dir, { recursive: true, force: true }));
  const [port, adminPort] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  await writeFile(join(dir, 'gateway.yaml'), configText(upstreamUrl));
  const env = {
    ...stores,
    ...{
      GATEWAY_CONFIG: join(dir, 'gateway.yaml'),
      DATA_DIR: dir,
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
    },
    ...{
      BETTER_AUTH_URL: url,
      BETTER_AUTH_SECRET: 'a-secret-for-benchmarks-0123456789abcdef',
      LOG_LEVEL: 'warn',
    },
    ...{ GITHUB_URL: github.url, GITHUB_API_URL: github.apiUrl },
  };
  await migrate(env);
  const process = await startGateway(
    here('../src/main.ts'),
    url,
    `http://127.0.0.1:${adminPort}/readyz`,
    env,
    0,
  );
  opened.defer(() => process.close());
  return { ...process, signedIn: { cookie: `${OTHER_COOKIES}; ${await signIn(url, github)}` } };
}

async function migrate(env: NodeJS.ProcessEnv): Promise<void> {
  const { loadConfig } = await import('../src/config/load.ts');
  const { migrateStore } = await import('../src/gateway.ts');
  await migrateStore(loadConfig(env));
}

function configText(upstreamUrl: string): string {
  return `upstreams: { app: { targets: ["${upstreamUrl}"], githubToken: forwarded } }\nroutes: [{ path: /**, upstream: app }]\n`;
}

async function signIn(url: string, github: GitHub): Promise<string> {
  const pat = github.control.issueToken({
    login: 'octocat',
    kind: 'classic',
    scopes: ['read:user', 'user:email'],
  });
  const answer = await fetch(`${url}/api/auth/pat-signin`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ pat }),
  });
  if (!answer.ok) throw new Error(`The bench could not sign in: ${answer.status}`);
  return answer.headers
    .getSetCookie()
    .map((line) => line.split(';', 1)[0])
    .join('; ');
}

function contender(
  name: string,
  server: { url: string; pid: number },
  headers: Record<string, string>,
  expectedStatus = 200,
): Contender {
  return { name, url: server.url, pid: server.pid, headers, expectedStatus };
}
