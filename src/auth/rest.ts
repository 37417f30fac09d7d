// GitHub that does not answer is left alone for a moment: nobody queues up behind requests that will fail as well.
import { GatewayError } from '../errors.ts';

const REST_MS = 1000;

/** The returned function runs the work; while GitHub rests it throws what the last one failed of. */
export function restAfterOutage(): <T>(work: () => Promise<T>) => Promise<T> {
  let outage: GatewayError | null = null;
  let until = 0;
  return async (work) => {
    if (outage !== null && performance.now() < until) throw outage;
    try {
      const result = await work();
      outage = null;
      return result;
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'github-unavailable') {
        outage = error;
        until = performance.now() + REST_MS;
      }
      throw error;
    }
  };
}
