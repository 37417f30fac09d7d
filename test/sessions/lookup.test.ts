// The contract of "who is asking?", held against every combination of stores.
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { LookUpSession } from '../../src/policy/session.ts';
import { cookieFinder, sign, tokenVerifier } from '../../src/sessions/cookie.ts';
import { createLocalTier } from '../../src/sessions/local.ts';
import { createLookup } from '../../src/sessions/lookup.ts';
import { openRedis } from '../../src/sessions/redis.ts';
import { createRevocationLog, type RevocationLog } from '../../src/sessions/revocation-log.ts';
import { createSharedTier, type SharedTier } from '../../src/sessions/shared.ts';
import { storeReader, together } from '../../src/sessions/store.ts';
import { tokenHash } from '../../src/sessions/token-hash.ts';
import { idOf, openSeededStore, type SeededStore } from '../support/seeded-store.ts';

const NAME = 'better-auth.session_token';
const SECRETS = ['the-first-secret-0123456789-abcdefghij', 'the-older-secret-0123456789-abcdefghij'] as const;

describe.each(['postgres+redis', 'postgres', 'sqlite'] as const)('the lookup on %s', (stores) => {
  let store: SeededStore;
  let redis: Redis | null;
  let shared: SharedTier | null;
  let lookUp: LookUpSession;
  let log: RevocationLog;
  let freshMs = 0;
  let queries: number;
  const tierErrors: string[] = [];
  beforeAll(async () => {
    store = await openSeededStore(stores);
    redis = store.redisUrl === null ? null : await openRedis(store.redisUrl, () => {});
    shared = redis && createSharedTier(redis, { secret: SECRETS[0], staleIfError: 900_000 });
    const readStore = together(storeReader(store.database));
    log = createRevocationLog();
    lookUp = createLookup({
      findCookie: cookieFinder(NAME),
      verifyToken: tokenVerifier(SECRETS),
      local: createLocalTier({ log, freshMs: () => freshMs, staleIfErrorMs: 60_000 }),
      log,
      shared,
      readFallback: () => null,
      readStore: (token) => {
        queries += 1;
        return readStore(token);
      },
      health: { failed: (tier) => tierErrors.push(tier), answered: () => {}, isAway: () => false },
      hearsChanges: () => true,
    });
    // The first question begins an epoch in Redis.
    await shared?.get('any');
  });
  beforeEach(() => {
    freshMs = 0;
    queries = 0;
    tierErrors.length = 0;
  });
  afterAll(async () => {
    redis?.disconnect();
    await store?.close();
  });

  const cookieOf = (token: string, secret: string = SECRETS[0]) => `a=b; ${NAME}=${sign(token, secret)}; c=d`;
  const newSession = async (person = {}) => {
    const userId = await store.addPerson({ profile: { login: 'octo', scopesKnown: 1 }, ...person });
    return { userId, token: await store.addSession(userId) };
  };

  test('finds a session, from the store first and then from the tier that is nearest', async () => {
    const { userId, token } = await newSession();
    const first = await lookUp(cookieOf(token));
    expect(first).toMatchObject({ outcome: 'found', tier: 'store', session: { userId, id: idOf(token) } });
    const second = await lookUp(cookieOf(token));
    expect(second).toEqual({ ...first, tier: redis ? 'shared' : 'store' });
    expect(queries).toBe(redis ? 1 : 2);
    expect(tierErrors).toEqual([]);
  });

  test('answers from memory while it is fresh, and asks again once it is revoked', async () => {
    freshMs = 60_000;
    const { userId, token } = await newSession();
    const first = await lookUp(cookieOf(token));
    const again = lookUp(cookieOf(token));
    expect(again, 'without waiting').toEqual({ ...first, tier: 'local' });
    expect(queries).toBe(1);
    await store.rows.query(`delete from session where token = $1`, token);
    await shared?.forget([tokenHash(token)]);
    log.note(userId);
    expect(await lookUp(cookieOf(token))).toEqual({ outcome: 'none', reason: 'session-expired' });
  });

  test('asks one question for many that wait for the same session', async () => {
    const { token } = await newSession();
    const found = await Promise.all(Array.from({ length: 500 }, () => lookUp(cookieOf(token))));
    expect(new Set(found.map(({ outcome }) => outcome))).toEqual(new Set(['found']));
    expect(queries).toBe(1);
  });

  test('finds a session whose cookie an older secret has signed', async () => {
    const { userId, token } = await newSession();
    expect(await lookUp(cookieOf(token, SECRETS[1]))).toMatchObject({
      outcome: 'found',
      session: { userId },
    });
  });

  test('asks nobody about a cookie that is missing or not signed by us', async () => {
    expect(await lookUp(undefined)).toEqual({ outcome: 'none', reason: 'no-session-cookie' });
    expect(await lookUp('a=b')).toEqual({ outcome: 'none', reason: 'no-session-cookie' });
    for (const value of ['x', '', sign('x'.repeat(32), 'no-secret-of-ours-0123456789-abcdefgh')])
      expect(await lookUp(`${NAME}=${value}`)).toEqual({ outcome: 'none', reason: 'session-invalid' });
    expect(queries).toBe(0);
  });

  test('finds none for a session that is not there (any longer)', async () => {
    expect(await lookUp(cookieOf('x'.repeat(32)))).toEqual({ outcome: 'none', reason: 'session-expired' });
    const { token } = await newSession();
    await lookUp(cookieOf(token));
    await store.rows.query(`delete from session where token = $1`, token);
    await shared?.forget([tokenHash(token)]);
    log.note(tokenHash(token));
    expect(await lookUp(cookieOf(token))).toEqual({ outcome: 'none', reason: 'session-expired' });
  });

  test('tells a ban of a living session', async () => {
    const { token } = await newSession({ banned: true, banReason: 'spam' });
    for (let round = 0; round < 2; round++)
      expect(await lookUp(cookieOf(token))).toMatchObject({
        outcome: 'found',
        session: { ban: { reason: 'spam', expiresAt: null } },
      });
  });

  test('never mixes people up, however many ask at once', async () => {
    const sessions = await Promise.all(Array.from({ length: 20 }, () => newSession()));
    const asked = Array.from({ length: 200 }, (_each, at) => sessions[(at * 7) % sessions.length]);
    const found = await Promise.all(asked.map((each) => lookUp(cookieOf(each?.token ?? ''))));
    expect(found.map((each) => each.outcome === 'found' && each.session.userId)).toEqual(
      asked.map((each) => each?.userId),
    );
  });
});

describe('a lookup whose tiers fail', () => {
  test('goes on to the store when Redis is gone, and fails, not "none", when the store is gone too', async () => {
    const store = await openSeededStore('postgres+redis');
    const redis = await openRedis(store.redisUrl ?? '', () => {});
    const errors: string[] = [];
    const log = createRevocationLog();
    const lookUp = createLookup({
      findCookie: cookieFinder(NAME),
      verifyToken: tokenVerifier(SECRETS),
      local: createLocalTier({ log, freshMs: () => 0, staleIfErrorMs: 60_000 }),
      log,
      shared: createSharedTier(redis, { secret: SECRETS[0], staleIfError: 900_000 }),
      readStore: together(storeReader(store.database)),
      readFallback: () => null,
      health: { failed: (tier) => errors.push(tier), answered: () => {}, isAway: () => false },
      hearsChanges: () => true,
    });
    const token = await store.addSession(await store.addPerson());
    const cookie = `${NAME}=${sign(token, SECRETS[0])}`;
    redis.disconnect();
    expect(await lookUp(cookie)).toMatchObject({ outcome: 'found', tier: 'store' });
    expect(errors).toEqual(['shared']);
    const unknown = `${NAME}=${sign('y'.repeat(32), SECRETS[0])}`;
    await store.close();
    expect(await lookUp(cookie), 'what was seen before goes on').toMatchObject({
      outcome: 'found',
      tier: 'local',
    });
    expect(await lookUp(unknown)).toEqual({ outcome: 'failed', cause: expect.any(Error) });
    expect(errors).toContain('store');
    log.note(tokenHash(token));
    expect(await lookUp(cookie), 'but not past its revocation').toMatchObject({ outcome: 'failed' });
    expect(await lookUp(`${NAME}=forged`), 'a forged cookie costs no I/O').toMatchObject({ outcome: 'none' });
  });
});
