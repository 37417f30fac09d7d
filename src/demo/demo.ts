// The demo: gateway, stand-in GitHub and sample API as three real HTTP servers in one process, in a fresh folder.
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { type GatewayConfig, loadConfig } from '../config/load.ts';
import { createGateway } from '../gateway.ts';
import { createLogger } from '../http/logging.ts';
import { type SampleApi, startSampleApi } from './api.ts';
import { type StandInGitHub, startStandInGitHub } from './github/server.ts';

export interface Demo {
  readonly gatewayUrl: string;
  close(): Promise<void>;
}

const CONFIG_FILE = fileURLToPath(new URL('../../config/gateway.yaml', import.meta.url));
const LOGIN = 'octocat';
const SCOPES = ['read:user', 'user:email', 'public_repo'];

/**
 * @param env PORT, ADMIN_PORT and LOG_LEVEL are looked at; everything else is the demo's own
 * @param say writes a line to the terminal; the log goes to stderr
 */
export async function startDemo(env: NodeJS.ProcessEnv, say: (line: string) => void): Promise<Demo> {
  const started = new AsyncDisposableStack();
  try {
    const gatewayUrl = await startAll(env, say, started);
    return { gatewayUrl, close: () => started.disposeAsync() };
  } catch (error) {
    await started.disposeAsync();
    throw error;
  }
}

/** Ended in the opposite order: the gateway first. */
async function startAll(
  env: NodeJS.ProcessEnv,
  say: (line: string) => void,
  started: AsyncDisposableStack,
): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'better-hub-gateway-demo-'));
  started.defer(() => rm(dataDir, { recursive: true, force: true }));
  const github = await startStandInGitHub();
  started.defer(() => github.close());
  const api = await startSampleApi(github.apiUrl);
  started.defer(() => api.close());
  const config = await demoConfig(env, { github, api, dataDir });
  github.app.redirectUris.push(`${config.publicUrl}/api/auth/callback/github`);
  const gateway = await createGateway(config, { logger: createLogger(config.logLevel, pino.destination(2)) });
  started.defer(() => gateway.close());
  await gateway.listen({ host: config.host, port: config.port });
  const pat = github.control.issueToken({ login: LOGIN, kind: 'classic', scopes: SCOPES });
  announce(say, { github, api, gatewayUrl: config.publicUrl, pat, jar: join(dataDir, 'cookies.txt') });
  return config.publicUrl;
}

interface Surroundings {
  readonly github: StandInGitHub;
  readonly api: SampleApi;
  readonly dataDir: string;
}

async function demoConfig(
  env: NodeJS.ProcessEnv,
  { github, api, dataDir }: Surroundings,
): Promise<GatewayConfig> {
  const port = env.PORT || (await freePort(8080));
  return loadConfig({
    GATEWAY_CONFIG: CONFIG_FILE,
    HUB_URL: api.url,
    DATA_DIR: dataDir,
    PORT: String(port),
    ADMIN_PORT: env.ADMIN_PORT || String(await freePort(9090)),
    LOG_LEVEL: env.LOG_LEVEL || 'warn',
    BETTER_AUTH_URL: `http://127.0.0.1:${port}`,
    BETTER_AUTH_SECRET: randomBytes(32).toString('base64url'),
    GITHUB_URL: github.url,
    GITHUB_API_URL: github.apiUrl,
    GITHUB_CLIENT_ID: github.app.clientId,
    GITHUB_CLIENT_SECRET: github.app.clientSecret,
  });
}

/** The usual port when nobody has it, else any: a second demo should start, too. */
async function freePort(usual: number): Promise<number> {
  return (await tryPort(usual)) ?? (await tryPort(0)) ?? usual;
}

function tryPort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : null));
    });
  });
}

interface Announcement {
  readonly github: StandInGitHub;
  readonly api: SampleApi;
  readonly gatewayUrl: string;
  readonly pat: string;
  /** Where curl keeps its cookies. */
  readonly jar: string;
}

function announce(say: (line: string) => void, { github, api, gatewayUrl, pat, jar }: Announcement): void {
  say(JSON.stringify({ name: 'github', url: github.url, pat }));
  say(JSON.stringify({ name: 'api', url: api.url }));
  say(JSON.stringify({ name: 'gateway', url: gatewayUrl }));
  say(`
The gateway runs at ${gatewayUrl}, in front of a sample API. GitHub is a stand-in: no account is needed.

In the browser:
  ${gatewayUrl}/api/hello

In another terminal:
  # nobody is signed in: 401
  curl -i ${gatewayUrl}/api/hello

  # sign in with a personal access token
  curl -i -c ${jar} -H 'Content-Type: application/json' -d '{"pat":"${pat}"}' ${gatewayUrl}/api/auth/pat-signin

  # signed in: 200, and the API saw who called and used their GitHub token
  curl -i -b ${jar} ${gatewayUrl}/api/hello
  curl -b ${jar} ${gatewayUrl}/api/user-scopes

  # needs the role admin: 403
  curl -i -b ${jar} ${gatewayUrl}/api/admin/stats

  # sign out
  curl -i -b ${jar} -X POST ${gatewayUrl}/api/auth/sign-out

Ctrl-C ends it.`);
}
