// A gateway as `npm start` runs it: the same command, a configuration file and an environment.
import { execFile } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../test/support/servers/port.ts';
import type { Surroundings } from '../contender.ts';
import { SECRET } from '../people.ts';
import { fileOf, startProgram, untilAnswered } from '../processes.ts';

const MAIN = fileOf('../src/main.ts');
/** As `npm start` has it. */
const COMPILE_CACHE = fileOf('../node_modules/.cache/node');

export interface GatewayProcessOptions {
  readonly migrates?: boolean;
  /** Writes a line for each request, to a file. */
  readonly logsRequests?: boolean;
  readonly workers?: number;
  /** It helps, and is not measured. */
  readonly isHelper?: boolean;
}

/** Settings that stand in the way of a load generator are wide; everything else is the default. */
function configuration(upstreamUrl: string): string {
  return `
upstreams:
  app: { targets: ["${upstreamUrl}"], githubToken: forwarded }
routes:
  - { path: /public/**, upstream: app, access: public }
  - { path: /scoped/**, upstream: app, access: { scopes: [repo] } }
  - { path: /**, upstream: app }
# Thousands of connections of one person.
streams: { perPerson: 20000, total: 20000 }
# A browser takes the JWE cookie that is renewed after half of this time; a load generator goes on with the old one.
sessions: { cookieFallback: 2h }
`;
}

/** @returns when it is ready: its stores answer, and changes are heard */
export async function startGatewayOn(
  surroundings: Surroundings,
  stores: NodeJS.ProcessEnv,
  { migrates = false, logsRequests = false, workers = 1, isHelper = false }: GatewayProcessOptions = {},
) {
  const dir = await surroundings.folder('gateway');
  const [port, adminPort] = [await freePort(), await freePort()];
  await writeFile(join(dir, 'gateway.yaml'), configuration(surroundings.upstreamUrl));
  const env: NodeJS.ProcessEnv = {
    ...stores,
    ...{ GATEWAY_CONFIG: join(dir, 'gateway.yaml'), DATA_DIR: dir, BETTER_AUTH_SECRET: SECRET },
    ...{ PORT: String(port), ADMIN_PORT: String(adminPort), BETTER_AUTH_URL: 'http://127.0.0.1:8080' },
    ...{ LOG_LEVEL: logsRequests ? 'info' : 'warn', WORKERS: String(workers) },
    NODE_COMPILE_CACHE: COMPILE_CACHE,
  };
  if (migrates)
    await promisify(execFile)(process.execPath, [MAIN, 'migrate'], { env: { ...process.env, ...env } });
  const [url, readyUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${adminPort}/readyz`];
  const log = openSync(join(dir, 'gateway.log'), 'a');
  const command = [process.execPath, MAIN, 'start'];
  const startedAt = performance.now();
  const role = isHelper ? 'load' : 'server';
  const gateway = await startProgram(command, readyUrl, { role, env, stdout: log, cores: workers });
  closeSync(log);
  await untilAnswered(readyUrl, { isReady: (status) => status === 200 });
  return { url, readyMs: performance.now() - startedAt, ...gateway };
}
