// Those without authentication: what a request costs before anybody is asked who they are.
import type { Contender, Surroundings } from '../contender.ts';
import { cookieHeader } from '../cookies.ts';
import { startScript } from '../processes.ts';

export const direct: Contender = {
  name: 'direct to the upstream',
  start: async (surroundings) => runScript(surroundings, 'servers/upstream.ts'),
};

export const floor: Contender = {
  name: 'node:http + undici (floor)',
  start: async (surroundings) => runScript(surroundings, 'servers/floor.ts'),
};

/** What two runs of the same thing differ by is the noise of the machine. */
export const floorAgain: Contender = { ...floor, name: 'the floor again' };

export const httpProxy: Contender = {
  name: '@fastify/http-proxy',
  start: async (surroundings) => runScript(surroundings, 'servers/http-proxy.ts'),
};

async function runScript({ upstreamUrl, opened }: Surroundings, script: string) {
  const server = await startScript(script, [upstreamUrl]);
  opened.defer(() => server.close());
  return { url: server.url, pids: [server.pid], cookie: cookieHeader() };
}
