// Clients that keep their connection and send on it every few milliseconds: what proxies and load balancers do.
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

export interface KeptClients {
  readonly answered: () => number;
  /** Clients that could not connect anew; they have stopped. */
  readonly refused: () => number;
  /** Waits for what is under way. @returns what each request came to that was not answered with 200 */
  stop(): Promise<readonly string[]>;
}

const EVERY_MS = 3;

/** Each of them stops by itself when its connection was told to close and there is nobody to take another. */
export function startKeptClients(url: string, count: number): KeptClients {
  const failures: string[] = [];
  let answered = 0;
  let refused = 0;
  let isStopped = false;
  const clients = Array.from({ length: count }, async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (; !isStopped; await sleep(EVERY_MS)) {
      const outcome = await once(`${url}/public/kept`, agent);
      if (outcome === 200) answered++;
      else if (outcome === 'ECONNREFUSED') {
        refused++;
        break;
      } else failures.push(String(outcome));
    }
    agent.destroy();
  });
  return {
    answered: () => answered,
    refused: () => refused,
    async stop() {
      isStopped = true;
      await Promise.all(clients);
      return failures;
    },
  };
}

/** @returns the status, or the code of the failure */
function once(url: string, agent: Agent): Promise<number | string | undefined> {
  return new Promise((resolve) => {
    const onError = (error: NodeJS.ErrnoException) => resolve(error.code);
    httpRequest(url, { agent }, (response: IncomingMessage) => {
      response
        .on('error', onError)
        .once('end', () => resolve(response.statusCode))
        .resume();
    })
      .on('error', onError)
      .end();
  });
}
