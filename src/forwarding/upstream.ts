// A service behind the gateway: its targets, which of them is asked next, and who waits for one.
import { buildConnector } from 'undici';
import { GatewayError } from '../errors.ts';
import { Connections } from './connections.ts';
import { Http2Dispatcher } from './http2-dispatcher.ts';
import { IdleWatch } from './idle.ts';
import { SOCKET_ORIGIN, Target } from './target.ts';
import type { TargetConnections } from './target-connections.ts';
import type { TlsFiles } from './tls.ts';
import { socketPathOf, type UpstreamOptions } from './upstream-options.ts';
import { WaitingLine } from './waiting-line.ts';

export interface Upstream {
  readonly name: string;
  readonly options: UpstreamOptions;
  readonly targets: readonly Target[];
  /** Looks after the silence of its answers. */
  readonly idle: IdleWatch;
  readonly line: WaitingLine;
  /** Requests that were sent to another target or on another connection, since the start. */
  retries: number;
  /**
   * The target for one request, other than the one given: of those that are well and have room, the least busy. Whoever
   * takes it releases it once, and tells it whether it has answered or failed. Null: see wait().
   */
  take(except?: Target): Target | null;
  /**
   * As take(), when there is room.
   *
   * @param gone aborted when nobody waits any longer
   * @throws {GatewayError} upstream-unavailable: no target is well, too many wait, or it took too long
   */
  wait(gone: AbortSignal): Promise<Target>;
  close(): Promise<void>;
}

export interface UpstreamParts {
  /** What the files of `options.tls` hold; see tls.ts */
  readonly tls?: TlsFiles;
  /** Told once per change of a target's state. */
  readonly onChange?: (target: Target) => void;
}

export function createUpstream(
  name: string,
  options: UpstreamOptions,
  { tls = {}, onChange = () => {} }: UpstreamParts = {},
): Upstream {
  const line = new WaitingLine(options.queue);
  const idle = new IdleWatch();
  const targets: Target[] = options.targets.map(
    (address) =>
      new Target({
        address,
        options,
        connections: connectionsTo(address, options, tls),
        hasOther: (target) => targets.some((each) => each !== target && each.state === 'up'),
        onRoom: () => {
          if (line.length > 0) line.serve(() => pick());
        },
        onChange,
      }),
  );
  const choose = chooser(targets, options.maxConnections);
  const pick = (except?: Target) => {
    const target = choose(except);
    target?.take();
    return target;
  };
  return {
    name,
    options,
    targets,
    idle,
    line,
    retries: 0,
    // Nobody overtakes those who wait; who is sent to another target has waited.
    take: (except) => (line.length > 0 && except === undefined ? null : pick(except)),
    async wait(gone) {
      if (!targets.some(({ isHealthy }) => isHealthy)) throw new GatewayError('upstream-unavailable');
      return line.join(gone);
    },
    async close() {
      idle.close();
      line.close();
      for (const target of targets) target.close();
      await Promise.all(targets.map(({ connections }) => connections.close()));
    },
  };
}

/**
 * The least busy of those that are available; of equals each in turn. Where none is, one that was ejected is better than
 * nobody.
 */
function chooser(targets: readonly Target[], most: number): (except?: Target) => Target | null {
  let turn = 0;
  return (except) => {
    const first = turn++;
    let best: Target | null = null;
    let starting: Target | null = null;
    let ejected: Target | null = null;
    let isOneAvailable = false;
    for (let at = 0; at < targets.length; at++) {
      const target = targets[(first + at) % targets.length] as Target;
      if (target === except) continue;
      isOneAvailable ||= target.isAvailable;
      if (target.inFlight >= most) continue;
      if (!target.isAvailable) ejected = target.isHealthy ? target : ejected;
      else if (!target.hasItsTurn) starting = target;
      else if (best === null || target.inFlight < best.inFlight) best = target;
    }
    return best ?? starting ?? (isOneAvailable ? null : ejected);
  };
}

function connectionsTo(address: string, options: UpstreamOptions, files: TlsFiles): TargetConnections {
  const path = socketPathOf(address);
  const { origin } = new URL(path === null ? address : SOCKET_ORIGIN);
  const { timeouts, keepAlive: keepAliveMs, connectionLife: lifeMs, tls } = options;
  const limits = { keepAliveMs, lifeMs };
  if (options.protocol === 'http1')
    return new Connections(origin, { ...limits, connect: connector(options, files, path) });
  const servername = tls?.serverName;
  return new Http2Dispatcher({
    ...{ ...limits, origin, socketPath: path ?? undefined, connectMs: timeouts.connect },
    tls: servername === undefined ? files : { ...files, servername },
  });
}

function connector(
  { timeouts, tls: options }: UpstreamOptions,
  files: TlsFiles,
  socketPath: string | null,
): buildConnector.connector {
  const connect = buildConnector({
    timeout: timeouts.connect,
    rejectUnauthorized: true,
    socketPath,
    ...files,
  });
  const servername = options?.serverName;
  // undici would ask for the host of the target, whatever its connector was told.
  return servername === undefined ? connect : (to, done) => connect({ ...to, servername }, done);
}
