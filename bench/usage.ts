// What processes use, with all their children: CPU and memory, as Linux counts them.
import { readdirSync, readFileSync } from 'node:fs';
import { childrenOf } from '../test/support/servers/processes.ts';

const TICKS_PER_SECOND = 100;

/** CPU seconds used so far by these processes, all their threads and children, those that have ended included. */
export function cpuSeconds(pids: readonly number[]): number {
  return sum(treesOf(pids).map(cpuOf));
}

/** Bytes of memory that these processes and their children hold (resident). */
export function residentBytes(pids: readonly number[]): number {
  return sum(treesOf(pids).map(residentOf));
}

function treesOf(pids: readonly number[]): number[] {
  return [...new Set(pids.flatMap((pid) => [pid, ...treesOf(childrenOf(pid))]))];
}

/**
 * The scheduler counts nanoseconds, thread by thread; where it does not say, there are ticks of 10 ms. Of children that
 * have ended there are only ticks, with their parent.
 */
function cpuOf(pid: number): number {
  const counted = sum(threadsOf(pid).map((thread) => Number.parseInt(read(`${thread}/schedstat`), 10) || 0));
  const ticks = (read(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ') ?? []).slice(11, 15).map(Number);
  const own = counted > 0 ? counted / 1e9 : sum(ticks.slice(0, 2)) / TICKS_PER_SECOND;
  return own + sum(ticks.slice(2)) / TICKS_PER_SECOND;
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((thread) => `/proc/${pid}/task/${thread}`);
  } catch {
    return [];
  }
}

function residentOf(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`)) ?? [];
  return Number(kilobytes ?? 0) * 1024;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
