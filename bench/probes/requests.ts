// Plain requests: of one session, of many in turn, of sessions that are new to the gateway.
import type { Running } from '../contender.ts';
import { cookieHeader } from '../cookies.ts';
import type { RequestsOrder } from '../loads/requests.ts';
import { measure, send } from '../measure.ts';
import type { Bench, MeasureRound, Scenario, Sizes } from '../scenario.ts';

export interface RequestOptions {
  readonly path: string;
  readonly method?: 'GET' | 'POST';
  readonly bodyBytes?: number;
  /** Instead of the contender's own. */
  readonly cookie?: string;
  readonly expected?: number;
  readonly connections?: number;
  /** So many requests, instead of so many seconds. */
  readonly amount?: (sizes: Sizes) => number;
}

const SCRIPT = 'loads/requests.ts';

/** Sessions that are new to a gateway come among others: more at a time would measure a queue before the store. */
const NEWCOMERS_AT_A_TIME = 16;

/** An application's cookies, and none of ours. */
export const NO_SESSION = cookieHeader('language=en');
/** A cookie in the right form that nobody has signed. */
export const FORGED = cookieHeader();

export function requests(options: RequestOptions): Scenario['begin'] {
  return async (bench) => requestRounds(bench, options);
}

/** The warm-up tells how many requests a round has: a round that is cut by the clock leaves some half done. */
export function requestRounds({ sizes, surroundings }: Bench, options: RequestOptions): MeasureRound {
  const amounts = new Map<Running, number>();
  return async (running, round) => {
    const known = options.amount?.(sizes) ?? amounts.get(running);
    const order = requestsOrder(running, sizes, options, known ?? sizes.warmUpRequests);
    const { expected = 200 } = options;
    if (round > 0) await warmUp(order, running);
    const measured = await measure(
      running,
      { script: SCRIPT, order },
      { storePids: surroundings.storePids(), expected },
    );
    if (round === 0) amounts.set(running, amountOf(measured.perSecond, sizes));
    return measured;
  };
}

/** What has lain idle is compiled anew as it is used, by each worker; that is not what a request costs. */
async function warmUp(order: RequestsOrder, { workers = 1 }: Running): Promise<void> {
  const amount = Math.max(order.connections, Math.ceil((order.amount / 2) * workers));
  await send({ script: SCRIPT, order: { ...order, amount } });
}

function amountOf(perSecond = 0, { seconds, fewestRequests }: Sizes): number {
  return Math.max(fewestRequests, Math.round(perSecond * seconds));
}

function requestsOrder(
  running: Running,
  sizes: Sizes,
  options: RequestOptions,
  amount: number,
): RequestsOrder {
  const { path, method = 'GET', cookie = running.cookie, bodyBytes = 0 } = options;
  const connections = options.connections ?? sizes.connections;
  return { url: running.url + path, method, connections, cookies: [cookie], bodyBytes, amount };
}

/**
 * The same sessions again and again, each of them in memory: they are asked for once before each round, because memory
 * is trusted for a minute and a round comes later than that.
 */
export function sessionsInTurn(count: (sizes: Sizes) => number): Scenario['begin'] {
  return async (bench, runnings) => {
    const { sizes, surroundings } = bench;
    const [first] = runnings.values();
    const cookies = await cookiesFrom(first, 0, count(sizes));
    return async (running) => {
      const order = orderOf(running.url, sizes, cookies);
      const asked = await send({ script: SCRIPT, order: { ...order, amount: cookies.length } });
      const timed = { ...order, amount: amountOf(asked.requests / asked.seconds, sizes) };
      await warmUp(timed, running);
      return measure(running, { script: SCRIPT, order: timed }, { storePids: surroundings.storePids() });
    };
  };
}

/** Each request is the first of its session here; with a neighbour, that has seen it a moment before. */
export function newSessions(offset: (sizes: Sizes) => number): Scenario['begin'] {
  return async ({ sizes, surroundings }) =>
    async (running, round) => {
      const amount = sizes.newSessions;
      const cookies = await cookiesFrom(running, offset(sizes) + round * amount, amount);
      const askFor = (url: string, some: readonly string[]) => ({
        ...orderOf(url, sizes, some),
        ...{ connections: NEWCOMERS_AT_A_TIME, amount: some.length },
      });
      if (running.neighbourUrl !== undefined)
        await send({ script: SCRIPT, order: askFor(running.neighbourUrl, cookies) });
      const first = Math.ceil(amount / 3);
      await send({ script: SCRIPT, order: askFor(running.url, cookies.slice(0, first)) });
      const order = askFor(running.url, cookies.slice(first));
      return measure(running, { script: SCRIPT, order }, { storePids: surroundings.storePids() });
    };
}

function orderOf(url: string, { connections }: Sizes, cookies: readonly string[]) {
  return { url: `${url}/api/x`, method: 'GET', connections, cookies } as const;
}

async function cookiesFrom(running: Running | undefined, from: number, count: number): Promise<string[]> {
  if (!running?.cookies) throw new Error('This scenario needs a contender with many sessions');
  return running.cookies(from, count);
}
