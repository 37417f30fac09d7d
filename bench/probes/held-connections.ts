// Connections that are open and say nothing: what they cost beside other requests, and what they weigh.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Contender } from '../contender.ts';
import { hold } from '../held.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { residentBytes } from '../usage.ts';
import { type RequestOptions, requestRounds } from './requests.ts';

/** Memory is read when whatever opening them needed is over. */
const SETTLING_MS = 3000;

/** Requests while as many event streams are open as the sizes say. */
export function besideStreams(options: RequestOptions): Scenario['begin'] {
  return async (bench) => {
    const { streams } = bench.sizes;
    const measureRound = requestRounds(bench, options);
    return async (running, round) => {
      const { url, cookie } = running;
      await using held = await hold({ url: `${url}/events`, cookie, connections: streams });
      const measured = await measureRound(running, round);
      await expectOpen(await held.open(), streams, url);
      return measured;
    };
  };
}

/** What an idle keep-alive connection weighs, in a process that has done nothing else. */
export function idleConnections(contenders: readonly Contender[]): Scenario['begin'] {
  return async (bench, runnings) => {
    const byUrl = new Map([...runnings].map(([name, { url }]) => [url, name]));
    return async ({ url }, round) => {
      const contender = contenders.find(({ name }) => name === byUrl.get(url));
      return round === 0 || !contender ? {} : weigh(bench, contender);
    };
  };
}

async function weigh({ surroundings, sizes }: Bench, contender: Contender) {
  await using opened = new AsyncDisposableStack();
  const { url, pids, cookie } = await contender.start({ ...surroundings, opened });
  const path = '/public/x';
  // The first hundred bring what all share.
  await using first = await hold({ url: url + path, cookie, connections: 100 });
  await sleep(SETTLING_MS);
  const before = residentBytes(pids);
  const { idleConnections: connections } = sizes;
  await using held = await hold({ url: url + path, cookie, connections });
  await sleep(SETTLING_MS);
  const bytesPerConnection = (residentBytes(pids) - before) / connections;
  await expectOpen((await held.open()) + (await first.open()), connections + 100, url);
  return { bytesPerConnection };
}

async function expectOpen(open: number, expected: number, url: string): Promise<void> {
  if (open < expected) throw new Error(`${url} closed ${expected - open} of ${expected} idle connections`);
}
