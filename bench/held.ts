// Connections that are held open while something else is measured.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { pinned } from './cores.ts';
import type { HeldOrder } from './loads/held.ts';
import { fileOf } from './processes.ts';

export interface Held extends AsyncDisposable {
  /** How many are open still. */
  open(): Promise<number>;
}

/** @throws when not all of them were answered 200 */
export async function hold(order: HeldOrder): Promise<Held> {
  const [program = '', ...args] = pinned('load', [
    process.execPath,
    fileOf('loads/held.ts'),
    JSON.stringify(order),
  ]);
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const ended = once(child, 'exit').then(() => {
    throw new Error(`The process that holds connections to ${order.url} has ended`);
  });
  ended.catch(() => {});
  const nextCount = async () => {
    const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string];
    return JSON.parse(line) as { open: number; refused: number };
  };
  const end = async () => {
    child.stdin.end();
    await ended.catch(() => {});
  };
  const { open, refused } = await nextCount();
  if (refused > 0 || open < order.connections) {
    await end();
    throw new Error(
      `${order.url}: ${refused} of ${order.connections} connections were refused, ${open} are open`,
    );
  }
  return {
    async open() {
      const count = nextCount();
      child.stdin.write('\n');
      return (await count).open;
    },
    [Symbol.asyncDispose]: end,
  };
}
