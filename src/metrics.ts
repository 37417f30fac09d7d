// What the gateway counts and measures, in the format Prometheus reads. Names follow the field; README.md lists them.
import { Gauge, Registry } from '@prometheus-io/client';

export interface MetricSources {
  /** Names of the states in which the gateway works with less than it was given. */
  readonly states: readonly string[];
  /** How many answers about sessions this process has in memory. */
  readonly localSessions: () => number;
}

export interface Metrics {
  /** One of the states begins or ends. */
  readonly state: (name: string, isOn: boolean) => void;
  /** For GET /metrics. */
  readonly text: () => Promise<string>;
  readonly contentType: string;
}

export function createMetrics({ states, localSessions }: MetricSources): Metrics {
  const registry = new Registry();
  const degraded = new Gauge({
    name: 'gateway_degraded',
    help: '1 while the gateway works without one of its stores, by state; see the log for the cause.',
    labelNames: ['state'],
    registers: [registry],
  });
  for (const state of states) degraded.set({ state }, 0);
  new Gauge({
    name: 'gateway_local_sessions',
    help: 'Answers about sessions that are kept in memory.',
    registers: [registry],
    collect() {
      this.set(localSessions());
    },
  });
  return {
    state: (state, isOn) => degraded.set({ state }, isOn ? 1 : 0),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
