// The operator's port, and what the log says once after the start.
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { GatewayConfig } from '../config/load.ts';
import { type AdminParts, createAdminServer } from '../http/admin-server.ts';
import type { Metrics } from '../metrics.ts';
import { type ReadinessParts, readiness } from '../readiness.ts';

export function serveAdmin(
  app: FastifyInstance,
  config: GatewayConfig,
  parts: AdminParts,
  logger: Logger,
): void {
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
export async function sayWhatIsMissing(
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
