import { once } from 'node:events';
import { createServer } from 'node:net';

const FIRST = 20_000;
/** Processes that look at the same time each have ports of their own. */
const PROCESSES = 40;
const PORTS_OF_ONE = 250;

let next = 0;

/**
 * A free port on 127.0.0.1 below the range that outgoing connections are given, so that a server can be stopped
 * and find its port still free. Never the same one soon again: whoever was given it may not have opened it yet.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < PORTS_OF_ONE; attempt++) {
    const port = FIRST + (process.pid % PROCESSES) * PORTS_OF_ONE + (next++ % PORTS_OF_ONE);
    if (await isFree(port)) return port;
  }
  throw new Error(`none of ${PORTS_OF_ONE} ports is free`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
