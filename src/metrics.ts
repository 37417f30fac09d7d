// What the gateway counts and measures, in the format Prometheus reads. Names follow the field; README.md lists them.
// The parts count for themselves, in plain numbers; labels are put together here, when somebody asks.
import { Counter, Gauge, type Metric, type MetricValueWithName, Registry } from '@prometheus-io/client';

/** What one route has come to. */
export interface RouteReading {
  readonly route: string;
  /** How many requests took up to each bound, longer ones last; not added up. */
  readonly durations: readonly number[];
  /** All durations together. */
  readonly seconds: number;
  answers(): Iterable<{ method: string; code: string; count: number }>;
  decisions(): Iterable<{ decision: string; reason: string; count: number }>;
}

export interface MetricSources {
  /** Names of the states in which the gateway works with less than it was given. */
  readonly states: readonly string[];
  /** What came of refreshes of GitHub tokens. */
  readonly tokenRefreshes: () => Iterable<readonly [result: string, count: number]>;
  /** How many answers about sessions this process has in memory. */
  readonly localSessions: () => number;
  /** Which tier answered who is asking, and what. */
  readonly lookups: () => Iterable<{ tier: string; result: string; count: number }>;
  readonly traffic: { readonly inFlight: number; routes(): Iterable<RouteReading> };
  /** Of `durations`, in seconds. */
  readonly durationBounds: readonly number[];
}

export interface Metrics {
  /** One of the states begins or ends. */
  readonly state: (name: string, isOn: boolean) => void;
  /** For GET /metrics. */
  readonly text: () => Promise<string>;
  readonly contentType: string;
  /** Where parts register what they measure themselves. */
  readonly registry: Registry;
}

export function createMetrics(sources: MetricSources): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const degraded = new Gauge({
    name: 'gateway_degraded',
    help: '1 while the gateway works without one of its stores, by state; see the log for the cause.',
    labelNames: ['state'],
    aggregator: 'max',
    registers,
  });
  for (const state of sources.states) degraded.set({ state }, 0);
  new Gauge({
    name: 'gateway_local_sessions',
    help: 'Answers about sessions that are kept in memory.',
    registers,
    collect() {
      this.set(sources.localSessions());
    },
  });
  new Counter({
    name: 'gateway_session_lookups_total',
    help: 'Questions who is asking, by the tier that answered and what it said.',
    labelNames: ['tier', 'result'],
    registers,
    collect() {
      this.reset();
      for (const { tier, result, count } of sources.lookups()) this.inc({ tier, result }, count);
    },
  });
  registerTraffic(registry, sources);
  new Counter({
    name: 'gateway_token_refreshes_total',
    help: 'Refreshes of GitHub tokens, by what came of them.',
    labelNames: ['result'],
    registers,
    collect() {
      this.reset();
      for (const [result, count] of sources.tokenRefreshes()) this.inc({ result }, count);
    },
  });
  return {
    state: (state, isOn) => degraded.set({ state }, isOn ? 1 : 0),
    text: () => registry.metrics(),
    contentType: registry.contentType,
    registry,
  };
}

function registerTraffic(registry: Registry, { traffic, durationBounds }: MetricSources): void {
  const registers = [registry];
  new Gauge({
    name: 'gateway_requests_in_flight',
    help: 'Requests whose answer is not over yet, streams and WebSockets included.',
    registers,
    collect() {
      this.set(traffic.inFlight);
    },
  });
  new Counter({
    name: 'gateway_requests_total',
    help: 'Requests that are over, by route, method and status of the answer.',
    labelNames: ['route', 'method', 'code'],
    registers,
    collect() {
      this.reset();
      for (const each of traffic.routes())
        for (const { method, code, count } of each.answers())
          this.inc({ route: each.route, method, code }, count);
    },
  });
  new Counter({
    name: 'gateway_decisions_total',
    help: 'Decisions who may pass, by route; report: it passed where it would have been denied.',
    labelNames: ['route', 'decision', 'reason'],
    registers,
    collect() {
      this.reset();
      for (const each of traffic.routes())
        for (const { decision, reason, count } of each.decisions())
          this.inc({ route: each.route, decision, reason }, count);
    },
  });
  const name = 'gateway_request_duration_seconds';
  const durations = {
    name,
    help: 'Time from the head of a request to the end of its answer, by route.',
    type: 'histogram',
    aggregator: 'sum',
    get: async () => ({
      ...durations,
      values: [...traffic.routes()].flatMap((each) => histogram(name, each, durationBounds)),
    }),
  };
  // The library has no way to hand it a histogram that was counted elsewhere; what it reads of a metric is this.
  registry.registerMetric(durations as unknown as Metric);
}

type Value = MetricValueWithName<'route' | 'le'>;

/** Buckets that add up, as Prometheus has them. */
function histogram(
  name: string,
  { route, durations, seconds }: RouteReading,
  bounds: readonly number[],
): Value[] {
  let count = 0;
  const buckets = durations.map((more, at) => {
    count += more;
    return { metricName: `${name}_bucket`, labels: { route, le: bounds[at] ?? '+Inf' }, value: count };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels: { route }, value: seconds },
    { metricName: `${name}_count`, labels: { route }, value: count },
  ];
}
