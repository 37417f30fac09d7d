// Which core runs what: the measured server has one to itself, where the system can (taskset of util-linux).
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export type Role = 'server' | 'upstream' | 'load' | 'stores';

/** Found out before the bench moves itself. */
const CORES = allowedCores();
const CAN_PIN = CORES.length > 1 && spawnSync('taskset', ['--version']).status === 0;

/** The first core is the server's; the others are shared out as far as they go. */
export function coreOf(role: Role, cores: readonly number[] = CORES): number {
  const wished = { server: 0, upstream: 1, load: 2, stores: 3 }[role];
  return cores[Math.min(wished, cores.length - 1)] ?? 0;
}

/** A command that runs on the cores of its role. */
export function pinned(role: Role, command: readonly string[], servers = 1): string[] {
  if (!CAN_PIN) return [...command];
  const cores = servers > 1 ? CORES.slice(0, servers) : [coreOf(role)];
  return ['taskset', '-c', cores.join(','), ...command];
}

/** Takes a process that runs already, and what it starts from now on, to the cores of its role. */
export function moveTo(role: Role, pid: number): void {
  if (CAN_PIN) spawnSync('taskset', ['-acp', String(coreOf(role)), String(pid)]);
}

/** For the head of the results. */
export function pinning(): string {
  if (!CAN_PIN) return 'servers are not pinned to a core';
  const roles: Role[] = ['upstream', 'load', 'stores'];
  const others = roles.map((role) => `${role} ${coreOf(role)}`).join(', ');
  return `server pinned to core ${coreOf('server')} (${others})`;
}

/** Those this process may run on: a container may be confined to some. Empty where that cannot be known. */
function allowedCores(): number[] {
  try {
    return readList(
      /^Cpus_allowed_list:\s+(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '',
    );
  } catch {
    return [];
  }
}

/** `0-2,5` is 0, 1, 2 and 5. */
export function readList(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [first = Number.NaN, last = first] = part.split('-').map(Number);
    return Array.from({ length: last - first + 1 || 0 }, (_, at) => first + at);
  });
}
