import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { serverAccount } from './account.ts';

export type Command = { program: string; args: string[] };

/** One life of a server: from its start to the end of its last process. */
export type Life = {
  /** Not given to another process before `over` settles. */
  pid: number;
  /** Settles when the server and everything it forked have ended. */
  over: Promise<void>;
  /** Ends the server if it still runs, and leaves its folder. */
  leave(): Promise<void>;
  /** Ends the server if it still runs, and removes its folder. */
  erase(): Promise<void>;
};

const script = readFileSync(new URL('supervise.sh', import.meta.url), 'utf8');

/** Starts a server that ends with this process, also when this process is killed. */
export async function supervise(command: Command, folder: string, endSignal: string): Promise<Life> {
  const supervisor = spawn(
    'sh',
    ['-c', script, 'supervise', endSignal, folder, command.program, ...command.args],
    {
      ...serverAccount(),
      cwd: folder,
      // In a session of its own it does not get the terminal's Ctrl-C before the tests have ended.
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore', 'pipe'],
    },
  );
  const { stdin, stdout, alive } = pipesOf(supervisor);
  // Writing to a supervisor that was killed is no fault: what it watched is gone too.
  stdin.on('error', () => {});
  const silence = once(alive.resume(), 'close');
  const exit = once(supervisor, 'exit').then(() => {});
  const [firstLine] = await Promise.race([once(stdout, 'data'), exit.then(failToBegin)]);
  const bury = async () => {
    await silence;
    const waited = once(stdout, 'data');
    stdin.write('wait\n');
    await Promise.race([waited, exit]);
  };
  const finish = (order?: string) => {
    stdin.end(order);
    return exit;
  };
  return {
    pid: Number(firstLine),
    over: bury(),
    leave: () => finish('leave\n'),
    erase: () => finish(),
  };
}

function failToBegin(): never {
  throw new Error('the supervisor ended before it began its server');
}

function pipesOf({ stdin, stdout, stdio }: ChildProcess) {
  if (!stdin || !stdout || !stdio[3]) throw new Error('a supervisor has pipes');
  return { stdin, stdout, alive: stdio[3] as Socket };
}
