// A store that fails again and again is left alone for a moment, so that nobody waits for it in vain.
import type { ReadSessions } from './store.ts';

export interface RestingStore {
  /** Asks the store; throws its last error at once while it rests. */
  readonly read: ReadSessions;
  /** It answers again: whoever asks next is heard. */
  wake(): void;
}

/** So many failures in a row begin a rest: of queries, however many waited for each. */
const MOST_FAILURES = 3;
const REST_MS = 1000;

export function restingStore(readStore: ReadSessions): RestingStore {
  let failures = 0;
  let restUntil = 0;
  let lastError: unknown;
  let wakes = 0;
  return {
    async read(tokens) {
      if (failures >= MOST_FAILURES && performance.now() < restUntil) throw lastError;
      // One asks on behalf of all; the others go on resting until it has an answer.
      restUntil = performance.now() + REST_MS;
      const asked = wakes;
      try {
        const answer = await readStore(tokens);
        failures = 0;
        return answer;
      } catch (error) {
        // What was asked before the store came back says nothing about it.
        if (asked === wakes) {
          failures++;
          lastError = error;
          restUntil = performance.now() + REST_MS;
        }
        throw error;
      }
    },
    wake() {
      failures = 0;
      wakes++;
    },
  };
}
