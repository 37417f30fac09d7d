// The state of the upstreams, and of the gateway's own load, as metrics: read when asked for, requests pay nothing.
import { Counter, Gauge, type Registry } from '@prometheus-io/client';
import type { TargetReport, UpstreamReport } from './forwarding/upstream-report.ts';

export function registerUpstreamMetrics(registry: Registry, read: () => readonly UpstreamReport[]): void {
  const registers = [registry];
  const ofTargets = (
    name: string,
    help: string,
    value: (target: TargetReport) => number,
    aggregator: 'sum' | 'min' = 'sum',
  ) =>
    new Gauge({
      name,
      help,
      aggregator,
      labelNames: ['upstream', 'target'],
      registers,
      collect() {
        for (const { name: upstream, targets } of read())
          for (const each of targets) this.set({ upstream, target: each.target }, value(each));
      },
    });
  ofTargets(
    'gateway_upstream_up',
    '1 for a target that is in turn, 0 for one that is not.',
    ({ state }) => (state === 'up' ? 1 : 0),
    'min',
  );
  ofTargets('gateway_upstream_in_flight', 'Requests under way to a target.', ({ inFlight }) => inFlight);
  ofTargets(
    'gateway_upstream_connections',
    'Connections to a target, idle ones included.',
    ({ openConnections }) => openConnections,
  );
  new Gauge({
    name: 'gateway_upstream_waiting',
    help: 'Requests that wait for room at an upstream.',
    labelNames: ['upstream'],
    registers,
    collect() {
      for (const { name: upstream, waiting } of read()) this.set({ upstream }, waiting);
    },
  });
  registerCounters(registry, read);
}

function registerCounters(registry: Registry, read: () => readonly UpstreamReport[]): void {
  const registers = [registry];
  const ofTargets = (name: string, help: string, count: (target: TargetReport) => number) =>
    new Counter({
      name,
      help,
      labelNames: ['upstream', 'target'],
      registers,
      collect() {
        this.reset();
        for (const { name: upstream, targets } of read())
          for (const each of targets) this.inc({ upstream, target: each.target }, count(each));
      },
    });
  ofTargets(
    'gateway_upstream_failures_total',
    'Requests that could not connect to a target, or were not answered in time.',
    ({ failures }) => failures,
  );
  ofTargets(
    'gateway_upstream_ejections_total',
    'How often a target was taken out of turn because it could not be reached.',
    ({ ejections }) => ejections,
  );
  const ofUpstreams = (name: string, help: string, count: (upstream: UpstreamReport) => number) =>
    new Counter({
      name,
      help,
      labelNames: ['upstream'],
      registers,
      collect() {
        this.reset();
        for (const each of read()) this.inc({ upstream: each.name }, count(each));
      },
    });
  ofUpstreams(
    'gateway_upstream_refused_total',
    'Requests refused because too many waited for an upstream, or for too long.',
    ({ refused }) => refused,
  );
  ofUpstreams(
    'gateway_upstream_retries_total',
    'Requests sent once more, to another target or on another connection.',
    ({ retries }) => retries,
  );
}

interface OverloadState {
  readonly isOverloaded: boolean;
  readonly refused: number;
  readonly delayMs: number;
}

export function registerOverloadMetrics(registry: Registry, state: OverloadState): void {
  const registers = [registry];
  new Gauge({
    name: 'gateway_overloaded',
    help: '1 while the gateway refuses requests because it has too much to do.',
    aggregator: 'max',
    registers,
    collect() {
      this.set(state.isOverloaded ? 1 : 0);
    },
  });
  new Gauge({
    name: 'gateway_event_loop_delay_seconds',
    help: 'By how much the event loop was late when last looked at.',
    aggregator: 'max',
    registers,
    collect() {
      this.set(state.delayMs / 1000);
    },
  });
  new Counter({
    name: 'gateway_overload_refused_total',
    help: 'Requests refused because the gateway had too much to do.',
    registers,
    collect() {
      this.reset();
      this.inc(state.refused);
    },
  });
}
