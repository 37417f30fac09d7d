// One round of one subject: a load from a process of its own, and what the server used meanwhile.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import type { Running } from './contender.ts';
import { pinned } from './cores.ts';
import type { PacedOrder } from './loads/paced.ts';
import type { RequestsCount, RequestsOrder } from './loads/requests.ts';
import type { SocketsOrder } from './loads/sockets.ts';
import { fileOf } from './processes.ts';
import { cpuSeconds } from './usage.ts';

export type Metric =
  /** CPU per request of the contender's processes, in µs: the leading figure. */
  | 'cpuMicros'
  /** CPU per request of Postgres and Redis, in µs. */
  | 'storeMicros'
  | 'perSecond'
  /** Latency in ms. */
  | 'p50'
  | 'p99'
  | 'readyMs'
  | 'bytesPerConnection';

export type Round = Readonly<Partial<Record<Metric, number>>>;

type Load =
  | { readonly script: 'loads/requests.ts'; readonly order: RequestsOrder }
  | { readonly script: 'loads/sockets.ts'; readonly order: SocketsOrder }
  | { readonly script: 'loads/paced.ts'; readonly order: PacedOrder };

/** @throws when anything was answered with another status than `expected`, or not at all */
export async function measure(
  running: Running,
  load: Load,
  { storePids = [], expected = 200 }: { storePids?: readonly number[]; expected?: number } = {},
): Promise<Round> {
  const [before, storesBefore] = [cpuSeconds(running.pids), cpuSeconds(storePids)];
  const count = await send(load);
  const [used, storesUsed] = [cpuSeconds(running.pids) - before, cpuSeconds(storePids) - storesBefore];
  refuse(count, expected, load.order.url);
  return {
    cpuMicros: (used / count.requests) * 1e6,
    storeMicros: (storesUsed / count.requests) * 1e6,
    perSecond: count.requests / count.seconds,
    p50: count.p50,
    p99: count.p99,
  };
}

/** Runs a load and gives what it counted. */
export async function send({ script, order }: Load): Promise<RequestsCount> {
  const [program = '', ...args] = pinned('load', [process.execPath, fileOf(script)]);
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(order));
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  if (code !== 0) throw new Error(`${script} ended with ${code} while it loaded ${order.url}`);
  return JSON.parse(output) as RequestsCount;
}

function refuse(
  { errors, timeouts = 0, statuses, requests }: RequestsCount,
  expected: number,
  url: string,
): void {
  const unexpected = Object.keys(statuses).filter((status) => Number(status) !== expected);
  if (errors > 0 || unexpected.length > 0 || requests === 0)
    throw new Error(
      `${requests} answers, ${errors} errors (${timeouts} timeouts), statuses ${JSON.stringify(statuses)} of ${url}`,
    );
}
