// The gateway itself: its request log off and on, a million sessions in its stores, two workers.
import type { Contender, Running, Surroundings } from '../contender.ts';
import { cookieHeader } from '../cookies.ts';
import { cookiesOfSessions } from '../people.ts';
import { type GatewayProcessOptions, startGatewayOn } from './gateway-process.ts';
import { gatewayStores } from './gateway-stores.ts';

export const FEW_SESSIONS = 1000;

export const gateway: Contender = {
  name: 'gateway',
  start: (surroundings) => start(surroundings, FEW_SESSIONS),
};

export const gatewayLogging: Contender = {
  name: 'gateway, request log on',
  start: (surroundings) => start(surroundings, FEW_SESSIONS, { logsRequests: true }),
};

export const gatewayLargeStore: Contender = {
  name: 'gateway, large store',
  start: (surroundings) => start(surroundings, surroundings.manySessions),
};

/** What its neighbour has put into Redis, this one finds there. */
export const gatewayWithNeighbour: Contender = {
  name: 'gateway beside another',
  async start(surroundings) {
    const { manySessions, opened } = surroundings;
    const { env } = await gatewayStores(surroundings, manySessions);
    const neighbour = await startGatewayOn(surroundings, env, { isHelper: true });
    opened.defer(() => neighbour.close());
    return { ...(await start(surroundings, manySessions)), neighbourUrl: neighbour.url };
  },
};

export const gatewayTwoWorkers: Contender = {
  name: 'gateway, 2 workers',
  mayRefuse: true,
  start: (surroundings) => start(surroundings, FEW_SESSIONS, { workers: 2 }),
};

/** How long it takes to start, in ms: from the command to a /readyz that says yes. */
export async function timeStart(surroundings: Surroundings): Promise<number> {
  const { env } = await gatewayStores(surroundings, FEW_SESSIONS);
  const process = await startGatewayOn(surroundings, env);
  await process.close();
  return process.readyMs;
}

async function start(
  surroundings: Surroundings,
  sessions: number,
  options: GatewayProcessOptions = {},
): Promise<Running> {
  const { env, signedIn } = await gatewayStores(surroundings, sessions);
  const process = await startGatewayOn(surroundings, env, options);
  surroundings.opened.defer(() => process.close());
  return {
    url: process.url,
    pids: [process.pid],
    workers: options.workers,
    cookie: cookieHeader(signedIn),
    cookies: cookiesOfSessions,
  };
}
