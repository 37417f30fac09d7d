// The composition root: makes every part and joins them, top to bottom. Nothing else knows all of them.
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { GatewayConfig } from './config/load.ts';
import { configWarnings } from './config/warnings.ts';
import { openDatabase } from './database/database.ts';
import { migrate } from './database/migrate.ts';
import { reportUpstream } from './forwarding/upstream-report.ts';
import { sayWhatIsMissing, serveAdmin } from './gateway/admin.ts';
import { registerRoutes } from './gateway/routes.ts';
import { sessionOptions } from './gateway/session-options.ts';
import { createSignIn, type SignIn } from './gateway/sign-in.ts';
import { openUpstreams, readTls } from './gateway/upstreams.ts';
import { createLogger } from './http/logging.ts';
import { originReader } from './http/origin.ts';
import { createOverload } from './http/overload.ts';
import { registerRequestChecks } from './http/request-checks.ts';
import { createServer } from './http/server.ts';
import { DURATION_BOUNDS, Traffic } from './http/traffic.ts';
import { registerOverloadMetrics, registerUpstreamMetrics } from './load-metrics.ts';
import { createMetrics } from './metrics.ts';
import { trustAddresses } from './policy/client-address.ts';
import { readiness } from './readiness.ts';
import { openRedis } from './sessions/redis.ts';
import { createSessions, DEGRADED_STATES, type Sessions } from './sessions/sessions.ts';

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
  const metrics = createMetrics({
    states: DEGRADED_STATES,
    tokenRefreshes: () => signIn.refreshes,
    localSessions: () => sessions.localSize(),
    lookups: () => sessions.lookupCounts(),
    traffic,
    durationBounds: DURATION_BOUNDS,
  });
  const told = { ...sessionOptions(config), onStateChange: metrics.state };
  const sessions: Sessions = createSessions(told, database, redis, logger);
  const signIn: SignIn = createSignIn(config, { database, sessions, logger });
  if (database.kind === 'sqlite') await migrate(database, signIn.auth.options);
  const hearing = sessions.listen();
  app.addHook('onClose', () => hearing.close());
  const upstreams = openUpstreams(app, config, tlsFiles, logger);
  const reportUpstreams = () => [...upstreams.values()].map(reportUpstream);
  registerUpstreamMetrics(metrics.registry, reportUpstreams);
  registerOverloadMetrics(metrics.registry, overload);

  await app.register(rateLimit, { global: false, redis, nameSpace: 'gateway:rate:', cache: MOST_COUNTED });
  registerRoutes(app, config, { database, sessions, signIn, upstreams, readOrigin, traffic, logger });
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
