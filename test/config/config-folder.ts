// A folder of its own for each test that reads files, and the smallest configuration that is in order.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError, type Fault } from '../../src/config/faults.ts';
import { type GatewayConfig, loadConfig } from '../../src/config/load.ts';

export const SECRET = 'Kq7-2mZp_9xWc4RtYv8LbN3sHd6FgJ1a';

/** Spaces and columns matter: tests name places in it. */
export const SMALLEST = `upstreams:
  hub:
    targets: [http://127.0.0.1:3000]
routes:
  - { path: /**, upstream: hub }
`;

export class ConfigFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'gateway-config-'));

  /** @returns the file's path */
  write(name: string, text: string): string {
    const file = join(this.path, name);
    writeFileSync(file, text);
    return file;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

/** Loads this text as the configuration file. */
export function loadText(text: string, env: NodeJS.ProcessEnv = {}): GatewayConfig {
  using folder = new ConfigFolder();
  const file = folder.write('gateway.yaml', text);
  return loadConfig({ BETTER_AUTH_SECRET: SECRET, ...env, GATEWAY_CONFIG: file });
}

/** What is wrong with this text; the folder is left out of the places. */
export function faultsOf(text: string, env: NodeJS.ProcessEnv = {}): Fault[] {
  try {
    loadText(text, env);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.faults.map(({ place, message }) => ({ place: place.replace(/^.*\//, ''), message }));
  }
}
