// A service behind the gateway: its targets, whose turn it is, and the connections to them.
import { Agent, buildConnector, type Dispatcher } from 'undici';
import { IdleWatch } from './idle.ts';
import type { TlsFiles } from './tls.ts';
import type { UpstreamOptions } from './upstream-options.ts';

/** One address of an upstream. */
export interface UpstreamTarget {
  readonly origin: string;
  /** For the Host header. */
  readonly host: string;
  /** False while its health check fails. */
  healthy: boolean;
}

export interface Upstream {
  readonly name: string;
  readonly options: UpstreamOptions;
  readonly targets: readonly UpstreamTarget[];
  readonly dispatcher: Dispatcher;
  /** Looks after the silence of its answers. */
  readonly idle: IdleWatch;
  /** The next healthy target in turn, other than the one given; null when there is none. */
  nextTarget(except?: UpstreamTarget): UpstreamTarget | null;
  close(): Promise<void>;
}

// Shorter than the 5 s after which Node's servers close idle connections: a request must not meet a closing one.
const KEEP_ALIVE_MS = 4000;
/** To one target; further requests wait for their turn. */
const MOST_CONNECTIONS = 512;
const MAX_RESPONSE_HEADER_BYTES = 64 * 1024;

/** @param tls what the files of `options.tls` hold; see tls.ts */
export function createUpstream(name: string, options: UpstreamOptions, tls: TlsFiles = {}): Upstream {
  const targets = options.targets.map(targetOf);
  const agent = new Agent({
    connect: connector(options, tls),
    headersTimeout: options.timeouts.headers,
    // See idle.ts: undici would not tell an event stream from a download that hangs.
    bodyTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: 60_000,
    maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
    pipelining: 1,
    connections: MOST_CONNECTIONS,
  });
  const idle = new IdleWatch();
  let turn = 0;
  return {
    name,
    options,
    targets,
    dispatcher: agent,
    idle,
    nextTarget(except) {
      for (let tries = 0; tries < targets.length; tries++) {
        const target = targets[turn++ % targets.length];
        if (target?.healthy && target !== except) return target;
      }
      return null;
    },
    close: () => {
      idle.close();
      return agent.destroy();
    },
  };
}

function connector({ timeouts, tls: options }: UpstreamOptions, files: TlsFiles): buildConnector.connector {
  const connect = buildConnector({ timeout: timeouts.connect, rejectUnauthorized: true, ...files });
  const servername = options?.serverName;
  // undici would ask for the host of the target, whatever its connector was told.
  return servername === undefined ? connect : (to, done) => connect({ ...to, servername }, done);
}

function targetOf(address: string): UpstreamTarget {
  const url = new URL(address);
  return { origin: url.origin, host: url.host, healthy: true };
}
