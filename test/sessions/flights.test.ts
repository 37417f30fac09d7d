import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Lookup } from '../../src/policy/session.ts';
import { type Flight, Flights } from '../../src/sessions/flights.ts';

const ANSWER: Promise<Lookup> = Promise.resolve({ outcome: 'none', reason: 'session-expired' });
const flightOf = (token: string): Flight => ({ token, since: 0, answer: ANSWER });

test('what is under way is found by its token, whatever else comes and goes', () => {
  // Few, and some in the same place, as those that differ behind their third character are.
  const token = fc.constantFrom('aaa', 'aaab', 'aaac', 'abc', 'b', '', 'bA~');
  const step = fc.record({ token, isEnd: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const flights = new Flights();
      const expected = new Map<string, Flight>();
      for (const { token: about, isEnd } of steps) {
        const running = expected.get(about);
        if (isEnd && running) {
          flights.delete(running);
          expected.delete(about);
        } else if (!running) {
          const flight = flightOf(about);
          flights.add(flight);
          expected.set(about, flight);
        }
        for (const each of ['aaa', 'aaab', 'aaac', 'abc', 'b', '', 'bA~'])
          expect(flights.get(each)).toBe(expected.get(each) ?? null);
      }
    }),
    { numRuns: 300 },
  );
});

test('the one that began last counts, and the end of the one before is not its end', () => {
  const flights = new Flights();
  const [first, second] = [flightOf('token'), flightOf('token')];
  flights.add(first);
  flights.add(second);
  expect(flights.get('token')).toBe(second);
  flights.delete(first);
  expect(flights.get('token')).toBe(second);
  flights.delete(second);
  flights.delete(second);
  expect(flights.get('token')).toBeNull();
});
