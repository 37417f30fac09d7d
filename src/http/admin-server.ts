// The operator's port: is the process alive, and can it do its work?
import Fastify, { type FastifyInstance } from 'fastify';

/** The state of what the gateway needs, by name; `ok` or what is wrong, in words without secrets. */
export type CheckReadiness = () => Promise<Record<string, string>>;

export function createAdminServer(checkReadiness: CheckReadiness): FastifyInstance {
  const app = Fastify({ logger: false, forceCloseConnections: true });
  app.get('/livez', () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const checks = await checkReadiness();
    const ready = Object.values(checks).every((state) => state === 'ok');
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ok' : 'not ready', checks });
  });
  return app;
}
