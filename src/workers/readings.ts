// What several workers say, made one: their metrics added up, their readiness and their upstreams joined. Pure.
import { Registry } from '@prometheus-io/client';
import type { TargetReport, UpstreamReport } from '../forwarding/upstream-report.ts';

/** A metric as the library's getMetricsAsJSON() gives it. */
export interface MetricReading {
  readonly name: string;
  readonly type: string;
}

/** In the format Prometheus reads. */
export function metricsText(readings: readonly MetricReading[][]): Promise<string> {
  return Registry.aggregate([...readings]).metrics();
}

/**
 * What remains of those that are gone: a total that shrinks would look like a start to Prometheus, and count everything
 * twice.
 */
export async function addCounts(
  before: MetricReading[],
  gone: readonly MetricReading[],
): Promise<MetricReading[]> {
  const counts = gone.filter(({ type }) => type === 'counter' || type === 'histogram');
  return (await Registry.aggregate([before, counts]).getMetricsAsJSON()) as MetricReading[];
}

/** What is wrong with any of them is wrong. */
export function joinReadiness(readings: readonly Record<string, string>[]): Record<string, string> {
  const joined: Record<string, string> = {};
  for (const reading of readings)
    for (const [name, state] of Object.entries(reading))
      if (joined[name] === undefined || joined[name] === 'ok') joined[name] = state;
  return joined;
}

/** @param reports of each worker, its upstreams in the order of the configuration */
export function joinUpstreams(reports: readonly (readonly UpstreamReport[])[]): UpstreamReport[] {
  const joined = new Map<string, UpstreamReport>();
  for (const report of reports.flat()) {
    const other = joined.get(report.name);
    joined.set(report.name, other ? addUpstreams(other, report) : report);
  }
  return [...joined.values()];
}

function addUpstreams(one: UpstreamReport, other: UpstreamReport): UpstreamReport {
  return {
    ...one,
    waiting: one.waiting + other.waiting,
    refused: one.refused + other.refused,
    retries: one.retries + other.retries,
    targets: one.targets.map((target) =>
      addTargets(
        target,
        other.targets.find((each) => each.target === target.target),
      ),
    ),
  };
}

function addTargets(one: TargetReport, other: TargetReport | undefined): TargetReport {
  if (other === undefined) return one;
  return {
    target: one.target,
    state: one.state === 'up' ? other.state : one.state,
    inFlight: one.inFlight + other.inFlight,
    openConnections: one.openConnections + other.openConnections,
    idleConnections: one.idleConnections + other.idleConnections,
    failures: one.failures + other.failures,
    ejections: one.ejections + other.ejections,
  };
}
