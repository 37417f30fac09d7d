// The upstreams of the configuration, opened; what looks after them ends with the gateway.
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { ConfigError, type Fault } from '../config/faults.ts';
import type { GatewayConfig } from '../config/load.ts';
import { watchAddresses } from '../forwarding/addresses.ts';
import { checkHealth } from '../forwarding/health.ts';
import { readTlsFiles, type TlsFiles } from '../forwarding/tls.ts';
import { createUpstream, type Upstream } from '../forwarding/upstream.ts';

/** @throws {ConfigError} with every certificate or key that cannot be used */
export function readTls(config: GatewayConfig): Map<string, TlsFiles> {
  const faults: Fault[] = [];
  const files = Object.entries(config.upstreams).map(([name, { tls }]) => {
    const fault = (setting: string, message: string) =>
      void faults.push({ place: `upstreams.${name}.tls.${setting}`, message });
    return [name, readTlsFiles(tls, fault)] as const;
  });
  if (faults.length > 0) throw new ConfigError(faults);
  return new Map(files);
}

export function openUpstreams(
  app: FastifyInstance,
  config: GatewayConfig,
  tlsFiles: ReadonlyMap<string, TlsFiles>,
  logger: Logger,
): Map<string, Upstream> {
  const upstreams = new Map<string, Upstream>();
  for (const [name, options] of Object.entries(config.upstreams)) {
    const upstream = createUpstream(name, options, {
      tls: tlsFiles.get(name),
      onChange: ({ origin, state }) =>
        logger[state === 'up' ? 'info' : 'warn'](
          { upstream: name, target: origin, state },
          `target is ${state}`,
        ),
    });
    upstreams.set(name, upstream);
    const endings = [checkHealth(upstream), watchAddresses(upstream.targets)];
    app.addHook('onClose', async () => {
      for (const end of endings) end?.();
      await upstream.close();
    });
  }
  return upstreams;
}
