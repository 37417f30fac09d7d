// The composition root: makes every part and joins them, top to bottom. Nothing else knows all of them.
import cookie from '@fastify/cookie';
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { accountChecker, type CheckAccount } from './auth/account-check.ts';
import { type Admission, createAdmission } from './auth/admission.ts';
import { authorizationEnder, type EndAuthorization } from './auth/authorization-ended.ts';
import { type Auth, type AuthParts, createAuth } from './auth/better-auth.ts';
import { callAuth } from './auth/call.ts';
import { fallbackCookieIssuer } from './auth/fallback-cookie.ts';
import { createGitHubClient, type GitHubClient } from './auth/github.ts';
import { DEFAULT_SCOPES } from './auth/github-provider.ts';
import { githubTokenReader, type ReadGitHubToken } from './auth/github-token.ts';
import { signInRecorder } from './auth/people.ts';
import { refusedTokenFinder } from './auth/refused-tokens.ts';
import { type Rotation, rotateKeys } from './auth/rotate-keys.ts';
import { createTokenCipher, type TokenCipher } from './auth/token-cipher.ts';
import { tokenDeleter } from './auth/token-deletion.ts';
import { REFRESH_RESULTS, type RefreshResult, tokenRefresher } from './auth/token-refresh.ts';
import { ConfigError, type Fault } from './config/faults.ts';
import type { GatewayConfig } from './config/load.ts';
import { configWarnings } from './config/warnings.ts';
import { type Database, openDatabase, openDatabaseForMigration } from './database/database.ts';
import { type MigrateOptions, migrate } from './database/migrate.ts';
import { watchAddresses } from './forwarding/addresses.ts';
import { checkHealth } from './forwarding/health.ts';
import { addHttp2Lane } from './forwarding/http2.ts';
import { preparedIdentities } from './forwarding/identities.ts';
import { readTlsFiles, type TlsFiles } from './forwarding/tls.ts';
import { createUpstream, type Upstream } from './forwarding/upstream.ts';
import { reportUpstream } from './forwarding/upstream-report.ts';
import { type AdminParts, createAdminServer } from './http/admin-server.ts';
import { registerAuthRoutes } from './http/auth-routes.ts';
import { registerGitHubWebhook } from './http/github-webhook.ts';
import { registerGuard } from './http/guard.ts';
import { createLogger } from './http/logging.ts';
import { createOpenStreams } from './http/open-streams.ts';
import { originReader, type ReadOrigin } from './http/origin.ts';
import { createOverload } from './http/overload.ts';
import { registerReservedPaths, signInUrl } from './http/paths.ts';
import { limitRoutes } from './http/rate-limits.ts';
import { registerRequestChecks } from './http/request-checks.ts';
import { createServer } from './http/server.ts';
import { registerSignInPage } from './http/sign-in-page.ts';
import { DURATION_BOUNDS, Traffic } from './http/traffic.ts';
import { registerUserScopes } from './http/user-scopes.ts';
import { registerOverloadMetrics, registerUpstreamMetrics } from './load-metrics.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import {
  type AdmissionRules,
  admitsEveryone,
  MEMBERSHIP_SCOPE,
  needsMemberships,
  readAdmissionRules,
} from './policy/admission.ts';
import { trustAddresses } from './policy/client-address.ts';
import { createRouteTable } from './policy/route-table.ts';
import type { LookUpSession } from './policy/session.ts';
import { type ReadinessParts, readiness } from './readiness.ts';
import { staleCookies } from './sessions/auth-cookies.ts';
import { openRedis } from './sessions/redis.ts';
import { createSessions, DEGRADED_STATES, type SessionOptions, type Sessions } from './sessions/sessions.ts';
import { publicSessionHash } from './sessions/token-hash.ts';

/** Persons and addresses whose requests are counted in memory, for each limit. */
const MOST_COUNTED = 50_000;

export interface GatewayOptions {
  /** Writes to stdout unless given. */
  readonly logger?: Logger;
  /** Its number, where it is one of several processes: then it has no operator's port of its own. */
  readonly worker?: number;
}

/**
 * Makes a gateway that is ready to listen. Its close() ends everything it opened; its `admin` is the operator's
 * server, which listens as soon as the gateway is ready.
 *
 * @throws {ConfigError} when a certificate or key of an upstream cannot be used
 * @throws DataFolderBusy when another process has the embedded database
 */
export async function createGateway(
  config: GatewayConfig,
  options: GatewayOptions = {},
): Promise<FastifyInstance> {
  const tlsFiles = readTls(config);
  const logger = options.logger ?? createLogger(config.logLevel, undefined, options.worker);
  for (const warning of configWarnings(config)) logger.warn(warning);
  const isTrusted = trustAddresses(config.trustedProxies);
  const readOrigin = originReader(config.publicUrl, isTrusted);
  const database = openDatabase(config);
  const redis =
    config.redisUrl === null
      ? null
      : await openRedis(config.redisUrl, (err) => logger.debug({ err }, 'redis'));

  const traffic = new Traffic();
  const overload = createOverload(config.server, traffic, logger);
  const app = createServer({ publicUrl: config.publicUrl, logger, isTrusted, readOrigin, traffic, overload });
  registerRequestChecks(app);
  app.addHook('onClose', async () => {
    redis?.disconnect();
    await database.close();
  });
  const cipher = createTokenCipher({ ...config, format: config.githubTokens.format });
  const refreshes = new Map<RefreshResult, number>(REFRESH_RESULTS.map((result) => [result, 0]));
  const metrics = createMetrics({
    states: DEGRADED_STATES,
    tokenRefreshes: () => refreshes,
    localSessions: () => sessions.localSize(),
    lookups: () => sessions.lookupCounts(),
    traffic,
    durationBounds: DURATION_BOUNDS,
  });
  const told = { ...sessionOptions(config), onStateChange: metrics.state };
  const sessions: Sessions = createSessions(told, database, redis, logger);
  const client = createGitHubClient(config.github);
  const rules = readAdmissionRules(config.signIn);
  const auth = createAuth(authParts(config, { database, cipher, client, rules, sessions, logger }));
  const { userChanged: onUserChanged } = sessions.revocations;
  const tokenParts = { database, cipher, client, onUserChanged };
  const readToken = githubTokenReader(
    cipher,
    tokenRefresher({
      ...tokenParts,
      onRefresh: (result) => void refreshes.set(result, (refreshes.get(result) ?? 0) + 1),
    }),
  );
  const checkAccount = accountChecker({ ...tokenParts, readToken, rules });
  if (database.kind === 'sqlite') await migrate(database, auth.options);
  const hearing = sessions.listen();
  app.addHook('onClose', () => hearing.close());
  const upstreams = openUpstreams(app, config, tlsFiles, logger);
  const reportUpstreams = () => [...upstreams.values()].map(reportUpstream);
  registerUpstreamMetrics(metrics.registry, reportUpstreams);
  registerOverloadMetrics(metrics.registry, overload);

  await app.register(rateLimit, { global: false, redis, nameSpace: 'gateway:rate:', cache: MOST_COUNTED });
  registerRoutes(app, config, {
    auth,
    database,
    sessions,
    upstreams,
    readOrigin,
    traffic,
    logger,
    readToken,
    checkAccount,
    admission: admitsEveryone(rules)
      ? null
      : createAdmission({ ...config.signIn, rules, check: checkAccount }),
    endAuthorization: authorizationEnder(database, sessions.revocations),
    deleteToken: tokenDeleter({
      ...tokenParts,
      onLeftBehind: (userId, err) => logger.warn({ userId, err }, 'a token could not be deleted at GitHub'),
    }),
  });
  const state = { database, redis, listener: hearing.state, onDatabase: sessions.storeAnswered };
  app.decorate('reports', {
    metrics,
    upstreams: reportUpstreams,
    checkReadiness: () => readiness({ ...state, onError: () => {} }),
  });
  if (options.worker === undefined) serveAdmin(app, config, app.reports, logger);
  app.addHook('onListen', async () => {
    logger.info({ addresses: app.addresses() }, 'gateway listens');
    await sayWhatIsMissing(state, logger);
  });
  return app;
}

/** Makes the tables, for the command of that name. @returns the names of those that were missing */
export async function migrateStore(
  config: GatewayConfig,
  options: MigrateOptions = {},
): Promise<readonly string[]> {
  const logger = createLogger(config.logLevel);
  const database = openDatabaseForMigration(config);
  try {
    const cipher = createTokenCipher({ ...config, format: config.githubTokens.format });
    const sessions = createSessions(sessionOptions(config), database, null, logger);
    const client = createGitHubClient(config.github);
    const rules = readAdmissionRules(config.signIn);
    const auth = createAuth(authParts(config, { database, cipher, client, rules, sessions, logger }));
    return await migrate(database, auth.options, options);
  } finally {
    await database.close();
  }
}

/** Re-encrypts the stored tokens, for the command of that name. */
export async function rotateStoredKeys(
  config: GatewayConfig,
  onProgress: (rotation: Rotation) => void,
): Promise<Rotation> {
  const database = openDatabaseForMigration(config);
  try {
    const cipher = createTokenCipher({ ...config, format: config.githubTokens.format });
    return await rotateKeys(database, cipher, onProgress);
  } finally {
    await database.close();
  }
}

function sessionOptions(config: GatewayConfig): SessionOptions {
  return {
    publicUrl: config.publicUrl,
    secrets: config.secrets.map((secret) => secret.value),
    staleIfError: config.sessions.staleIfError,
    cookieFallback: config.sessions.cookieFallback,
    listenUrl: config.databaseDirectUrl ?? config.databaseUrl,
  };
}

interface AuthNeeds {
  readonly database: Database;
  readonly cipher: TokenCipher;
  readonly client: GitHubClient;
  readonly rules: AdmissionRules;
  readonly sessions: Sessions;
  readonly logger: Logger;
}

function authParts(config: GatewayConfig, needs: AuthNeeds): AuthParts {
  const { database, cipher, client, rules, sessions, logger } = needs;
  const { revocations } = sessions;
  const recordSignIn = signInRecorder({
    database,
    cipher,
    admins: config.admins,
    rules,
    readMemberships: client.readMemberships,
    onUserChanged: revocations.userChanged,
  });
  return {
    publicUrl: config.publicUrl,
    secrets: config.secrets,
    trustedOrigins: config.trustedOrigins,
    userFields: config.userFields,
    database,
    cipher,
    github: config.github,
    githubClient: client,
    recordSignIn,
    scopes: needsMemberships(rules) ? [...DEFAULT_SCOPES, MEMBERSHIP_SCOPE] : DEFAULT_SCOPES,
    changes: revocations,
    log: (level, message) => logger[level]({ part: 'better-auth' }, message),
  };
}

/** @throws {ConfigError} with every certificate or key that cannot be used */
function readTls(config: GatewayConfig): Map<string, TlsFiles> {
  const faults: Fault[] = [];
  const files = Object.entries(config.upstreams).map(([name, { tls }]) => {
    const fault = (setting: string, message: string) =>
      void faults.push({ place: `upstreams.${name}.tls.${setting}`, message });
    return [name, readTlsFiles(tls, fault)] as const;
  });
  if (faults.length > 0) throw new ConfigError(faults);
  return new Map(files);
}

function openUpstreams(
  app: FastifyInstance,
  config: GatewayConfig,
  tlsFiles: ReadonlyMap<string, TlsFiles>,
  logger: Logger,
): Map<string, Upstream> {
  const upstreams = new Map<string, Upstream>();
  for (const [name, options] of Object.entries(config.upstreams)) {
    const upstream = createUpstream(name, options, {
      tls: tlsFiles.get(name),
      onChange: ({ origin, state }) =>
        logger[state === 'up' ? 'info' : 'warn'](
          { upstream: name, target: origin, state },
          `target is ${state}`,
        ),
    });
    upstreams.set(name, upstream);
    const endings = [checkHealth(upstream), watchAddresses(upstream.targets)];
    app.addHook('onClose', async () => {
      for (const end of endings) end?.();
      await upstream.close();
    });
  }
  return upstreams;
}

interface RouteParts {
  readonly auth: Auth;
  readonly database: Database;
  readonly sessions: Sessions;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly readOrigin: ReadOrigin;
  readonly traffic: Traffic;
  readonly logger: Logger;
  readonly readToken: ReadGitHubToken;
  readonly checkAccount: CheckAccount;
  /** Null where everyone may enter. */
  readonly admission: Admission | null;
  readonly endAuthorization: EndAuthorization;
  readonly deleteToken: (userId: string) => Promise<void>;
}

/** What the main port answers: sign-in and sessions, our own pages, and, for every other path, the routes. */
function registerRoutes(app: FastifyInstance, config: GatewayConfig, parts: RouteParts): void {
  const { auth, database, sessions, upstreams, readOrigin, readToken, admission } = parts;
  const { authCookies } = sessions;
  const admitted = (lookUp: LookUpSession) => admission?.wrap(lookUp) ?? lookUp;
  const lookUp = admitted(sessions.lookUp);
  const toSignIn = (scopes: readonly string[], back: string) => signInUrl(publicUrl, scopes, back);
  const { publicUrl } = config;
  const askAuth = (request: Request) => callAuth(auth.handler, request);
  const trustedOrigins = new Set([publicUrl, ...config.trustedOrigins]);
  app.register(async (scope) => {
    await scope.register(cookie);
    registerAuthRoutes(scope, {
      callAuth: askAuth,
      callAuthInTransaction: (request) => callAuth(auth.handler, request, database.inTransaction),
      authCookies,
      staleCookies,
      lookUpInStore: sessions.lookUpInStore,
      lookUpAdmitted: admitted(sessions.lookUpInStore),
      onSignedOutEverywhere: async (userId) => {
        if (config.githubTokens.onSignOutEverywhere === 'delete') await parts.deleteToken(userId);
      },
      resign: sessions.resign,
      publicUrl,
      githubUrl: config.github.url,
      trustedOrigins,
    });
    registerUserScopes(scope, {
      lookUp,
      checkToken: parts.checkAccount,
      publicUrl,
      trustedOrigins,
      signInUrl: toSignIn,
    });
  });
  app.register(async (scope) => registerGitHubWebhook(scope, { ...parts, secret: config.webhookSecret }));
  registerSignInPage(app, { publicUrl, trustedOrigins, hasGitHub: config.github.client !== null });
  registerReservedPaths(app);
  const extend: Sessions['extend'] = (session, cookieHeader) => {
    admission?.touch(session);
    return sessions.extend(session, cookieHeader);
  };
  const streams = createOpenStreams({ lookUp, watch: sessions.watch, extend, limits: config.streams });
  app.addHook('preClose', async () => streams.endAll());
  const guarded = {
    matchRoute: createRouteTable(config.routes),
    lookUp,
    publicUrl,
    upstreams,
    renew: sessions.renewal(
      fallbackCookieIssuer({ callAuth: askAuth, authCookies, staleCookies, publicUrl }),
    ),
    identify: preparedIdentities({ readToken, sessionHash: publicSessionHash }),
    trustedOrigins,
    passCookies: sessions.passCookies,
    forwarded: readOrigin.forwarded,
    streams,
    traffic: parts.traffic,
    limit: limitRoutes(app, parts.traffic),
    logger: parts.logger,
    signInUrl: toSignIn,
    githubOrigin: new URL(config.github.apiUrl).origin,
    isTokenRefused: refusedTokenFinder(parts.checkAccount),
  };
  app.register(async (scope) => {
    await addHttp2Lane(scope);
    registerGuard(scope, guarded);
  });
}

function serveAdmin(app: FastifyInstance, config: GatewayConfig, parts: AdminParts, logger: Logger): void {
  let ending = false;
  app.addHook('preClose', async () => {
    ending = true;
  });
  const admin = createAdminServer({
    ...parts,
    checkReadiness: async () => (ending ? { gateway: 'is ending' } : parts.checkReadiness()),
  });
  app.decorate('admin', admin);
  // Before the main port, and in a hook whose failure ends the start: a busy port must not go unnoticed.
  app.addHook('onReady', async () => {
    const address = await admin.listen({ host: config.adminHost, port: config.adminPort });
    logger.info({ address }, 'admin port listens');
  });
  app.addHook('onClose', () => admin.close());
}

/** Once, after the start: whoever reads the log should not have to ask /readyz first. */
async function sayWhatIsMissing(
  state: Omit<ReadinessParts, 'listener' | 'onError'>,
  logger: Logger,
): Promise<void> {
  const causes: Record<string, unknown> = {};
  const checks = await readiness({
    ...state,
    listener: () => 'ok',
    onError: (store, error) => {
      causes[store] = error;
    },
  });
  for (const [name, found] of Object.entries(checks))
    if (found !== 'ok') logger.warn({ err: causes[name] }, `${name}: ${found}`);
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The operator's server. */
    admin: FastifyInstance;
    /** What that server tells. */
    reports: AdminParts & { readonly metrics: Metrics };
  }
}
