import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './port.ts';
import { childrenOf, signalAll } from './processes.ts';
import { type Command, type Life, supervise } from './supervise.ts';

/** What Postgres and Redis have in common for a test that takes them down. */
export type ServerControls = {
  host: string;
  port: number;
  /** Where its data and its log, `server.log`, are. */
  folder: string;
  /** The process that listens; undefined while it is down. */
  readonly pid: number | undefined;
  /** Orderly end; what was stored stays in the folder. */
  stop(): Promise<void>;
  /** Starts it again on the same port and the same folder, and waits until it answers. */
  start(): Promise<void>;
  /** SIGKILL to all its processes; settles when they are gone. */
  kill(): Promise<void>;
  /** SIGSTOP to all its processes: connections stay open and nothing answers. */
  pause(): void;
  /** SIGCONT, the end of `pause`. */
  resume(): void;
  /** Ends it for good, in whatever state it is, and removes its folder. */
  close(): Promise<void>;
};

export type ServerPlan = {
  name: string;
  folder: string;
  command(port: number): Command;
  stopSignal: NodeJS.Signals;
  /** Ends the server at once where no data need survive; a name `kill -s` takes. */
  endSignal: 'QUIT' | 'KILL';
  /** Rejects while the server does not answer. */
  ask(port: number): Promise<void>;
};

const startLimitMs = 30_000;
const portAttempts = 3;

/** Starts a server on a free port; another process may take the port first, so it is tried again. */
export async function runServer(plan: ServerPlan): Promise<ServerControls> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    try {
      return controls(plan, port, await live(plan, port));
    } catch (error) {
      if (attempt < portAttempts) continue;
      await rm(plan.folder, { recursive: true, force: true });
      throw error;
    }
  }
}

function controls(plan: ServerPlan, port: number, first: Life): ServerControls {
  let life = first;
  let running = true;
  const pid = () => (running ? life.pid : undefined);
  const down = async () => {
    running = false;
    await life.over;
  };
  return {
    host: '127.0.0.1',
    port,
    folder: plan.folder,
    get pid() {
      return pid();
    },
    async stop() {
      const server = expectRunning(plan, pid());
      resume(server);
      signalAll([server], plan.stopSignal);
      await down();
    },
    async start() {
      if (running) throw new Error(`${plan.name} already runs`);
      const previous = life;
      life = await live(plan, port);
      running = true;
      await previous.leave();
    },
    async kill() {
      signalAll(pause(expectRunning(plan, pid())), 'SIGKILL');
      await down();
    },
    pause: () => void pause(expectRunning(plan, pid())),
    resume: () => resume(expectRunning(plan, pid())),
    async close() {
      running = false;
      await life.erase();
    },
  };
}

function expectRunning(plan: ServerPlan, pid: number | undefined): number {
  if (pid === undefined) throw new Error(`${plan.name} does not run`);
  return pid;
}

/** The parent is stopped first: then it forks nothing that is missing from the list of its children. */
function pause(pid: number): number[] {
  signalAll([pid], 'SIGSTOP');
  const children = childrenOf(pid);
  signalAll(children, 'SIGSTOP');
  return [pid, ...children];
}

function resume(pid: number): void {
  signalAll([...childrenOf(pid), pid], 'SIGCONT');
}

async function live(plan: ServerPlan, port: number): Promise<Life> {
  const life = await supervise(plan.command(port), plan.folder, plan.endSignal);
  try {
    await answering(plan, port, life);
    return life;
  } catch (error) {
    const log = await readFile(join(plan.folder, 'server.log'), 'utf8').catch(() => '');
    await life.leave();
    throw new Error(`${plan.name} did not start:\n${log.slice(-2000)}`, { cause: error });
  }
}

async function answering(plan: ServerPlan, port: number, life: Life): Promise<void> {
  const ended = life.over.then(() => 'ended');
  for (const deadline = Date.now() + startLimitMs; ; ) {
    try {
      return await plan.ask(port);
    } catch (error) {
      const interruption = await Promise.race([ended, sleep(10)]);
      if (interruption || Date.now() > deadline) throw error;
    }
  }
}
