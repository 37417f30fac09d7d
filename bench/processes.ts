// Child processes of the bench: started on the cores of their role, ended with the bench.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { pinned, type Role } from './cores.ts';

export interface BenchProcess {
  readonly pid: number;
  close(): Promise<void>;
}

export interface StartOptions {
  readonly role?: Role;
  readonly env?: NodeJS.ProcessEnv;
  /** Where what it prints goes; dropped unless given. */
  readonly stdout?: number;
  /** Cores of a server with several processes. */
  readonly cores?: number;
}

const END_WITHIN_MS = 10_000;
/** Machines that are busy take their time. */
const START_WITHIN_MS = 120_000;

/** The path of a file of the bench. */
export function fileOf(path: string): string {
  return new URL(path, import.meta.url).pathname;
}

/** Runs a script of the bench that prints its address as the first line of stdout. */
export async function startScript(
  path: string,
  args: readonly string[],
  options: StartOptions = {},
): Promise<BenchProcess & { readonly url: string }> {
  const child = start([process.execPath, fileOf(path), ...args], 'pipe', options);
  const stdout = child.stdout as NodeJS.ReadableStream;
  const [line] = (await Promise.race([once(createInterface({ input: stdout }), 'line'), failure(child)])) as [
    string,
  ];
  stdout.resume();
  return { url: line, ...closable(child) };
}

/** Runs a program until `url` answers anything. */
export async function startProgram(
  command: readonly string[],
  url: string,
  options: StartOptions = {},
): Promise<BenchProcess> {
  const child = start(command, options.stdout ?? 'ignore', options);
  const waiting = new AbortController();
  await Promise.race([untilAnswered(url, { signal: waiting.signal }), failure(child)]).finally(() =>
    waiting.abort(),
  );
  return closable(child);
}

function start(
  command: readonly string[],
  stdout: 'pipe' | 'ignore' | number,
  { role = 'server', env, cores }: StartOptions,
): ChildProcess {
  const [program = '', ...args] = pinned(role, command, cores);
  // Scripts of the bench end when their stdin does: with the bench, however it ends.
  return spawn(program, args, { stdio: ['pipe', stdout, 'pipe'], env: { ...process.env, ...env } });
}

async function failure(child: ChildProcess): Promise<never> {
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  const [code, signal] = await once(child, 'exit');
  throw new Error(`${child.spawnfile} ended with ${signal ?? code} before it was ready: ${said.trim()}`);
}

interface Waiting {
  readonly isReady?: (status: number) => boolean;
  /** Ends the waiting; nobody is told. */
  readonly signal?: AbortSignal;
}

export async function untilAnswered(
  url: string,
  { isReady = () => true, signal }: Waiting = {},
): Promise<void> {
  for (const deadline = Date.now() + START_WITHIN_MS; Date.now() < deadline; await sleep(5)) {
    if (signal?.aborted) return;
    const status = await fetch(url, { redirect: 'manual' }).then(
      (answer) => answer.status,
      () => 0,
    );
    if (status !== 0 && isReady(status)) return;
  }
  throw new Error(`${url} did not answer within 2 min`);
}

function closable(child: ChildProcess): BenchProcess {
  return {
    pid: child.pid as number,
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), END_WITHIN_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}
