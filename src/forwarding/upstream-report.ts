// The state of an upstream as operators see it: on the admin port, and in the metrics. No secret is in it.
import type { TargetState } from './target.ts';
import type { Upstream } from './upstream.ts';

export interface UpstreamReport {
  readonly name: string;
  /** Requests that wait for room. */
  readonly waiting: number;
  /** Those refused because too many waited, or for too long; this and all other counts since the start. */
  readonly refused: number;
  /** Requests that were sent to another target, or on another connection. */
  readonly retries: number;
  readonly targets: readonly TargetReport[];
}

export interface TargetReport {
  readonly target: string;
  readonly state: TargetState;
  readonly inFlight: number;
  readonly openConnections: number;
  readonly idleConnections: number;
  /** Requests that could not connect, or were not answered in time. */
  readonly failures: number;
  readonly ejections: number;
}

export function reportUpstream({ name, line, retries, targets }: Upstream): UpstreamReport {
  return {
    name,
    waiting: line.length,
    refused: line.refused,
    retries,
    targets: targets.map(({ name: target, state, inFlight, connections, failures, ejections }) => ({
      target,
      state,
      inFlight,
      openConnections: connections.open,
      idleConnections: connections.idle,
      failures,
      ejections,
    })),
  };
}
