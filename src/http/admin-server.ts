// The operator's port: is the process alive, and can it do its work?
import Fastify, { type FastifyInstance } from 'fastify';
import type { UpstreamReport } from '../forwarding/upstream-report.ts';

/** The state of what the gateway needs, by name; `ok` or what is wrong, in words without secrets. */
export type CheckReadiness = () => Promise<Record<string, string>>;

export interface AdminParts {
  readonly checkReadiness: CheckReadiness;
  readonly metrics: { readonly text: () => Promise<string>; readonly contentType: string };
  readonly upstreams: () => readonly UpstreamReport[] | Promise<readonly UpstreamReport[]>;
}

export function createAdminServer({ checkReadiness, metrics, upstreams }: AdminParts): FastifyInstance {
  const app = Fastify({ logger: false, forceCloseConnections: true });
  app.get('/livez', () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const checks = await checkReadiness();
    const ready = Object.values(checks).every((state) => state === 'ok');
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ok' : 'not ready', checks });
  });
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
  app.get('/upstreams', async () => ({ upstreams: await upstreams() }));
  return app;
}
