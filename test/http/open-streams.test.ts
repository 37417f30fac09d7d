// The parts of open-streams.ts that no whole gateway shows: stores that fail, notes that come in crowds.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Goodbye, StreamKind } from '../../src/forwarding/streams.ts';
import { createOpenStreams } from '../../src/http/open-streams.ts';
import { compileRoute, type Route } from '../../src/policy/route.ts';
import { routeSchema } from '../../src/policy/route-options.ts';
import type { Lookup, Session } from '../../src/policy/session.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const session: Session = {
  id: 'session',
  userId: 'user',
  email: 'user@example.com',
  name: 'User',
  role: 'user',
  ban: null,
  impersonatedBy: null,
  expiresAt: Date.now() + 7 * 86_400_000,
  github: null,
};
const FOUND: Lookup = { outcome: 'found', session, tier: 'local' };
const FAILED: Lookup = { outcome: 'failed', cause: new Error('away') };

function setUp() {
  let answer: Lookup = FOUND;
  let asked = 0;
  let changed = () => {};
  const extended: Session[] = [];
  const route: Route = compileRoute(routeSchema.parse({ path: '/**', upstream: 'hub' }));
  const streams = createOpenStreams({
    lookUp: async () => {
      asked++;
      return answer;
    },
    watch: (_session, _cookieHeader, onChange) => {
      changed = onChange;
      return () => {
        changed = () => {};
      };
    },
    extend: (each) => void extended.push(each),
    limits: { perPerson: 100, total: 100 },
  });
  const open = (kind: StreamKind = 'websocket') => {
    const goodbyes: Goodbye[] = [];
    const end = (goodbye: Goodbye) => void goodbyes.push(goodbye);
    const close = streams.open({ kind, session, cookieHeader: 'c', route, safeMethod: false, end });
    return { goodbyes, close };
  };
  return {
    streams,
    open,
    extended,
    answers: (lookup: Lookup) => {
      answer = lookup;
    },
    changed: () => changed(),
    asked: () => asked,
  };
}

test('a store that fails is asked again, and only when it goes on failing the stream ends', async () => {
  const { open, answers, changed, asked } = setUp();
  const { goodbyes } = open();
  await vi.advanceTimersByTimeAsync(100);
  answers(FAILED);
  changed();
  await vi.advanceTimersByTimeAsync(300);
  answers(FOUND);
  await vi.advanceTimersByTimeAsync(2000);
  expect(goodbyes).toEqual([]);
  const before = asked();
  answers(FAILED);
  changed();
  await vi.advanceTimersByTimeAsync(2000);
  expect(asked() - before).toBe(4);
  expect(goodbyes).toEqual([{ code: 1013, reason: 'session-store-unavailable' }]);
});

test('a crowd of notes is one question, and a stream is ended once', async () => {
  const { open, answers, changed, asked, streams } = setUp();
  const { goodbyes } = open();
  await vi.advanceTimersByTimeAsync(100);
  const before = asked();
  answers({ outcome: 'none', reason: 'session-expired' });
  for (let note = 0; note < 100; note++) changed();
  await vi.advanceTimersByTimeAsync(100);
  expect(asked() - before).toBe(1);
  changed();
  streams.endAll();
  await vi.advanceTimersByTimeAsync(2000);
  expect(goodbyes).toEqual([{ code: 4401, reason: 'session-expired' }]);
});

test('a long answer is looked after once it has lasted a while, and may finish when the gateway ends', async () => {
  const { open, answers, asked, streams } = setUp();
  const brief = open('long');
  brief.close();
  await vi.advanceTimersByTimeAsync(2000);
  expect(asked()).toBe(0);
  const lasting = open('long');
  await vi.advanceTimersByTimeAsync(1000);
  expect(asked()).toBe(1);
  streams.endAll();
  expect(lasting.goodbyes).toEqual([]);
  answers({ outcome: 'none', reason: 'session-expired' });
  const late = open('long');
  await vi.advanceTimersByTimeAsync(1000);
  expect(late.goodbyes).toEqual([{ code: 4401, reason: 'session-expired' }]);
});

test('once the gateway ends no further stream is opened', () => {
  const { open, streams } = setUp();
  streams.endAll();
  expect(() => open('event-stream')).toThrow(/overloaded/);
  expect(() => open('websocket')).toThrow(/overloaded/);
});

test('no timer is left when the last stream is over', async () => {
  const { open } = setUp();
  const [one, two] = [open(), open('long')];
  await vi.advanceTimersByTimeAsync(3000);
  one.close();
  two.close();
  expect(vi.getTimerCount()).toBe(0);
});
