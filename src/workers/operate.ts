// The operator's port of a gateway of several processes: one for all of them.
import type { FastifyInstance } from 'fastify';
import { createAdminServer } from '../http/admin-server.ts';
import { createLogger } from '../http/logging.ts';
import { ask } from './questions.ts';
import { joinReadiness, joinUpstreams, type MetricReading, metricsText } from './readings.ts';
import type { Supervisor } from './supervisor.ts';

/** For what the supervisor has to say; workers write their own lines. */
export const workersLogger = (level: string) => createLogger(level);

const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

interface OwnReading extends MetricReading {
  readonly help: string;
  readonly aggregator: 'sum';
  readonly values: readonly { readonly labels: Record<string, never>; readonly value: number }[];
}

/** What the supervisor knows by itself. */
export function ownMetrics({ workers, replaced }: Pick<Supervisor, 'workers' | 'replaced'>): OwnReading[] {
  const metric = (name: string, type: string, help: string, value: number): OwnReading => ({
    ...{ name, type, help },
    aggregator: 'sum',
    values: [{ labels: {}, value }],
  });
  return [
    metric('gateway_workers', 'gauge', 'Processes that serve.', workers.length),
    metric(
      'gateway_workers_replaced_total',
      'counter',
      'Processes started in the place of dead ones.',
      replaced,
    ),
  ];
}

/** @param isEnding asked with every question for readiness */
export function createWorkersAdmin(supervisor: Supervisor, isEnding: () => boolean): FastifyInstance {
  return createAdminServer({
    async checkReadiness(): Promise<Record<string, string>> {
      if (isEnding()) return { gateway: 'is ending' };
      const asked = await Promise.allSettled(supervisor.workers.map((worker) => ask(worker, 'readiness')));
      const told = asked.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
      const { count } = supervisor;
      const workers = told.length === count ? 'ok' : `${told.length} of ${count} serve`;
      return { ...joinReadiness(told), workers };
    },
    metrics: {
      contentType: CONTENT_TYPE,
      text: async () => metricsText([...(await supervisor.metrics()), ownMetrics(supervisor)]),
    },
    async upstreams() {
      const asked = await Promise.allSettled(supervisor.workers.map((worker) => ask(worker, 'upstreams')));
      return joinUpstreams(asked.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])));
    },
  });
}
