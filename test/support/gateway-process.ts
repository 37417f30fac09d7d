// The gateway as its own process, started as `npm start` does: for its memory, its exit and its locks.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { StandInGitHub } from '../../src/demo/github/server.ts';
import type { Surroundings } from './gateway.ts';
import { keepForSearch, noteSecretsOf } from './secrecy/watch.ts';
import { freePort } from './servers/port.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** As `npm start` has it. */
const COMPILED = fileURLToPath(new URL('../../node_modules/.cache/node', import.meta.url));
const START_LIMIT_MS = 100_000;

export interface GatewayProcess {
  readonly url: string;
  readonly adminUrl: string;
  readonly github: StandInGitHub;
  readonly pid: number;
  /** What it wrote to stdout and stderr so far. */
  output(): string;
  /** Resident memory now. */
  memoryMiB(): number;
  /** Sends SIGTERM and waits. @returns the exit code */
  end(): Promise<number | null>;
}

/** Starts a gateway process and waits until it listens. It must be ended. */
export async function startGatewayProcess(
  { env, github }: Pick<Surroundings, 'env' | 'github'>,
  more: Record<string, string> = {},
): Promise<GatewayProcess> {
  const port = await freePort();
  const adminPort = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const adminUrl = `http://127.0.0.1:${adminPort}`;
  github.app.redirectUris.push(`${url}/api/auth/callback/github`);
  const { child, output } = run(['start'], {
    BETTER_AUTH_URL: url,
    ...env,
    ...more,
    PORT: String(port),
    ADMIN_PORT: String(adminPort),
  });
  await listening(`${adminUrl}/livez`, child, output);
  return {
    url,
    adminUrl,
    github,
    pid: child.pid as number,
    output,
    memoryMiB: () => residentMiB(child.pid as number),
    end: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      const [code] = await exited;
      return code;
    },
  };
}

/** Runs a command of the CLI to its end. */
export async function runCommand(
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ code: number | null; output: string }> {
  const { child, output } = run(args, env);
  const [code] = await once(child, 'close');
  return { code, output: output() };
}

/** Only what is given, and what finds programs, is in its environment. */
function run(args: readonly string[], env: Record<string, string>) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, NODE_COMPILE_CACHE: COMPILED, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
  noteSecretsOf(env);
  // The command that makes a secret prints it.
  if (args[0] !== 'secret') child.once('close', () => keepForSearch('output', text));
  return { child, output: () => text };
}

async function listening(url: string, child: ChildProcess, output: () => string): Promise<void> {
  for (const deadline = Date.now() + START_LIMIT_MS; ; await sleep(20)) {
    if (child.exitCode !== null) throw new Error(`the gateway ended with ${child.exitCode}:\n${output()}`);
    if ((await fetch(url).catch(() => null))?.ok) return;
    if (Date.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`the gateway does not listen:\n${output()}`);
    }
  }
}

function residentMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024;
}
