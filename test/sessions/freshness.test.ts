import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { cookieFinder, sign, tokenVerifier } from '../../src/sessions/cookie.ts';
import { FRESH_MS } from '../../src/sessions/freshness.ts';
import { createLocalTier } from '../../src/sessions/local.ts';
import { createLookup } from '../../src/sessions/lookup.ts';
import { openRedis } from '../../src/sessions/redis.ts';
import { createRevocationLog } from '../../src/sessions/revocation-log.ts';
import { createSharedTier } from '../../src/sessions/shared.ts';
import { storeReader, together } from '../../src/sessions/store.ts';
import { openSeededStore } from '../support/seeded-store.ts';

const NAME = 'better-auth.session_token';
const SECRET = 'the-first-secret-0123456789-abcdefghij';

afterEach(() => {
  vi.useRealTimers();
});

test('what another gateway has put into Redis is asked for once, however old: memory keeps it as long as it counts', async () => {
  const store = await openSeededStore('postgres+redis');
  onTestFinished(() => store.close());
  const redis = await openRedis(store.redisUrl ?? '', () => {});
  onTestFinished(() => redis.disconnect());
  const startedAt = Date.now();
  // Time passes when the test says so; the stores' answers take their own.
  vi.useFakeTimers({ toFake: ['Date'], now: startedAt });
  const newGateway = () => {
    const log = createRevocationLog();
    return createLookup({
      findCookie: cookieFinder(NAME),
      verifyToken: tokenVerifier([SECRET]),
      local: createLocalTier({ log, freshMs: () => FRESH_MS, staleIfErrorMs: 900_000, clock: Date.now }),
      log,
      shared: createSharedTier(redis, { secret: SECRET, staleIfError: 900_000 }),
      readFallback: () => null,
      readStore: together(storeReader(store.database)),
      health: { failed: () => {}, answered: () => {}, isAway: () => false },
      hearsChanges: () => true,
    });
  };
  const userId = await store.addPerson({ profile: { login: 'octo', scopesKnown: 1 } });
  const cookie = `${NAME}=${sign(await store.addSession(userId), SECRET)}`;
  const unknown = `${NAME}=${sign('a-token-nobody-has-0123456789', SECRET)}`;
  const tierAt = async (lookUp: ReturnType<typeof newGateway>, ms: number) => {
    vi.setSystemTime(startedAt + ms);
    const lookup = await lookUp(cookie);
    return lookup.outcome === 'found' ? lookup.tier : lookup.outcome;
  };
  const [one, other] = [newGateway(), newGateway()];
  // The first question of each begins an epoch in Redis, or finds it.
  await one(unknown);
  await other(unknown);
  expect(await tierAt(one, 0)).toBe('store');
  await vi.waitFor(async () => expect(await redis.keys('gateway:session:*')).toHaveLength(1));
  for (const ms of [FRESH_MS * 0.75, FRESH_MS * 0.9]) expect(await tierAt(one, ms)).toBe('local');
  expect(await tierAt(other, FRESH_MS * 0.75)).toBe('shared');
  for (const ms of [FRESH_MS * 0.75, FRESH_MS * 0.9]) expect(await tierAt(other, ms)).toBe('local');
  expect(await tierAt(other, FRESH_MS + 1)).toBe('store');
  expect(await tierAt(other, FRESH_MS + 2)).toBe('local');
});
