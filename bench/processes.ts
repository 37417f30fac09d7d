// Child processes of the bench: started on a core of their own where the system can, and asked for the CPU they used.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

export interface BenchProcess {
  readonly url: string;
  readonly pid: number;
  close(): Promise<void>;
}

const CAN_PIN = spawnSync('taskset', ['--version']).status === 0;

/** Core 0 for the server that is measured, core 1 for everything else. */
export type Core = 0 | 1;

/** Runs a script that prints its address as the first line of stdout. */
export async function startServer(script: string, args: string[], core: Core): Promise<BenchProcess> {
  const child = spawnPinned(core, [script, ...args], {});
  const [line] = (await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')) as [
    string,
  ];
  return processOf(child, line);
}

/** Runs the gateway's own command line; the address is known beforehand. */
export async function startGateway(
  main: string,
  url: string,
  readyUrl: string,
  env: NodeJS.ProcessEnv,
  core: Core,
) {
  const child = spawnPinned(core, [main, 'start'], env);
  for (let tries = 0; tries < 200; tries++) {
    if (
      await fetch(readyUrl).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      return processOf(child, url);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  child.kill('SIGKILL');
  throw new Error('The gateway did not become ready within 10 s');
}

function spawnPinned(core: Core, args: string[], env: NodeJS.ProcessEnv): ChildProcess {
  const command = [process.execPath, ...args];
  const pinned = CAN_PIN ? ['taskset', '-c', String(core), ...command] : command;
  return spawn(pinned[0] as string, pinned.slice(1), {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
}

function processOf(child: ChildProcess, url: string): BenchProcess {
  child.stdout?.resume();
  return {
    url,
    pid: child.pid as number,
    async close() {
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  };
}

const TICKS_PER_SECOND = 100;

/** CPU seconds a process has used so far, its threads included (Linux). */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
