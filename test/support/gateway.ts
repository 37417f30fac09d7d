// A whole gateway for a test: real sockets, a stand-in GitHub, a recording upstream, and the stores asked for.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { type GatewayConfig, loadConfig } from '../../src/config/load.ts';
import { type StandInGitHub, startStandInGitHub } from '../../src/demo/github/server.ts';
import { migrateStore } from '../../src/gateway/commands.ts';
import { createGateway } from '../../src/gateway.ts';
import { createLogger } from '../../src/http/logging.ts';
import { createDatabase } from './postgres.ts';
import { createRedisSpace } from './redis.ts';
import { keepForSearch, noteSecretsOf, searchStores } from './secrecy/watch.ts';
import { freePort } from './servers/port.ts';
import { openTestStore, type TestStore } from './store.ts';
import { type RecordingUpstream, startRecordingUpstream } from './upstream.ts';

export interface TestGateway {
  readonly url: string;
  readonly adminUrl: string;
  readonly app: FastifyInstance;
  readonly config: GatewayConfig;
  /** What it was started with. */
  readonly env: Readonly<Record<string, string>>;
  readonly github: StandInGitHub;
  readonly upstream: RecordingUpstream;
  /** What the gateway has stored, past the gateway. */
  readonly store: TestStore;
  /** Every line of the gateway's log so far. */
  readonly logLines: () => string[];
  /** A further gateway on the same stores and upstream; whoever asks for it closes it. */
  another(env?: Record<string, string>): Promise<TestGateway>;
  close(): Promise<void>;
}

export interface TestGatewayOptions {
  /** `postgres` with `redis` unless said otherwise. */
  readonly stores?: 'postgres+redis' | 'postgres' | 'sqlite';
  /** The configuration file; `${UPSTREAM}` stands for the recording upstream. */
  readonly config?: string;
  readonly env?: Record<string, string>;
  readonly logLevel?: string;
  /** Runs before the tables are made, with the environment of the gateway. */
  readonly prepare?: (env: Readonly<Record<string, string>>) => Promise<void>;
  /** False leaves an empty Postgres empty. */
  readonly migrate?: boolean;
  /** False leaves Postgres without triggers. */
  readonly triggers?: boolean;
}

export const DEFAULT_CONFIG = `
upstreams:
  hub: { targets: ["\${UPSTREAM}"], githubToken: forwarded }
  plain: { targets: ["\${UPSTREAM}"] }
routes:
  - { path: /public/**, upstream: plain, access: public }
  - { path: /optional/**, upstream: hub, access: optional }
  - { path: /plain/**, upstream: plain, access: session }
  - { path: /api/admin/**, upstream: hub, access: { roles: [admin] } }
  - { path: /api/workflows/**, upstream: hub, access: { scopes: [workflow] } }
  - { path: /api/repos/**, methods: [GET], upstream: hub, access: { scopes: [public_repo] } }
  - { path: /api/**, upstream: hub, access: session }
admins: [monalisa]
`;

/** Starts everything; close() of the returned gateway ends everything. */
export async function startTestGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const around = await startSurroundings(options);
  try {
    const gateway = await runGateway(around, options);
    return {
      ...gateway,
      close: async () => {
        await gateway.close();
        await around.close();
      },
    };
  } catch (error) {
    await around.close();
    throw error;
  }
}

/** Everything a gateway needs, and the environment that tells it so. */
export interface Surroundings {
  readonly env: Record<string, string>;
  readonly github: StandInGitHub;
  readonly upstream: RecordingUpstream;
  close(): Promise<void>;
}

export async function startSurroundings(options: TestGatewayOptions = {}): Promise<Surroundings> {
  const opened = new AsyncDisposableStack();
  try {
    const github = await startStandInGitHub();
    opened.defer(() => github.close());
    const upstream = await startRecordingUpstream();
    opened.defer(() => upstream.close());
    const dir = await mkdtemp(join(tmpdir(), 'gateway-test-'));
    opened.defer(() => rm(dir, { recursive: true, force: true }));
    await writeFile(join(dir, 'gateway.yaml'), options.config ?? DEFAULT_CONFIG);
    const stores = await openStores(options.stores ?? 'postgres+redis', opened);
    const env = {
      ...baseEnv(dir, github, upstream),
      ...stores,
      LOG_LEVEL: options.logLevel ?? 'info',
      ...options.env,
    };
    opened.defer(() => searchStores(env));
    await options.prepare?.(env);
    return { env, github, upstream, close: () => opened.disposeAsync() };
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

type Env = Record<string, string>;

function baseEnv(dir: string, github: StandInGitHub, upstream: RecordingUpstream): Env {
  return {
    GATEWAY_CONFIG: join(dir, 'gateway.yaml'),
    DATA_DIR: join(dir, 'data'),
    UPSTREAM: upstream.url,
    BETTER_AUTH_SECRET: 'a-secret-for-tests-0123456789abcdefghij',
    GITHUB_URL: github.url,
    GITHUB_API_URL: github.apiUrl,
    GITHUB_CLIENT_ID: github.app.clientId,
    GITHUB_CLIENT_SECRET: github.app.clientSecret,
  };
}

async function openStores(stores: string, opened: AsyncDisposableStack): Promise<Env> {
  if (stores === 'sqlite') return {};
  const database = await createDatabase();
  opened.defer(() => database.drop());
  if (stores === 'postgres') return { DATABASE_URL: database.url };
  const redis = await createRedisSpace();
  opened.defer(() => redis.drop());
  return { DATABASE_URL: database.url, REDIS_URL: redis.url };
}

async function runGateway(
  { env, github, upstream, close }: Surroundings,
  { migrate = true, triggers }: TestGatewayOptions,
): Promise<TestGateway> {
  const port = await freePort();
  const adminPort = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const config = loadConfig({
    BETTER_AUTH_URL: url,
    ...env,
    PORT: String(port),
    ADMIN_PORT: String(adminPort),
  });
  noteSecretsOf(env);
  github.app.redirectUris.push(`${config.publicUrl}/api/auth/callback/github`);
  if (config.databaseUrl !== null && migrate) await migrateStore(config, { triggers });
  const { destination, lines } = lineCollector();
  const app = await createGateway(config, { logger: createLogger(config.logLevel, destination) });
  const store = openTestStore(config);
  await app.listen({ host: '127.0.0.1', port });
  return {
    url,
    adminUrl: `http://127.0.0.1:${adminPort}`,
    app,
    config,
    env,
    github,
    upstream,
    store,
    logLines: () => lines,
    another: (more = {}) =>
      runGateway({ env: { ...env, ...more }, github, upstream, close }, { migrate, triggers }),
    close: async () => {
      if (app.server.listening) keepForSearch('metrics', await metricsOf(app));
      await store.close();
      const closed = app.close();
      // The gateway leaves its clients some time to send on them; here they are ours, and have no more to send.
      Server.prototype.closeIdleConnections.call(app.server);
      await closed;
      keepForSearch('log', lines.join('\n'));
    },
  };
}

async function metricsOf({ admin }: FastifyInstance): Promise<string> {
  const [metrics, readyz] = await Promise.all(['/metrics', '/readyz'].map((url) => admin.inject(url)));
  return `${metrics?.body}\n${readyz?.body}`;
}

function lineCollector() {
  const lines: string[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      lines.push(...String(chunk).split('\n').filter(Boolean));
      done();
    },
  });
  return { destination, lines };
}
