// A lookup that was under way when its session ended brings it back nowhere: not in the memory of any gateway, nor in
// Redis. Every order is forced: the lookup is held at each of its steps while the revocation takes its own.
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LookUpSession, Lookup } from '../../src/policy/session.ts';
import { cookieFinder, sign, tokenVerifier } from '../../src/sessions/cookie.ts';
import { createLocalTier } from '../../src/sessions/local.ts';
import { createLookup } from '../../src/sessions/lookup.ts';
import { openRedis } from '../../src/sessions/redis.ts';
import { createRevocationLog } from '../../src/sessions/revocation-log.ts';
import { createRevocations, type Revocations } from '../../src/sessions/revocations.ts';
import { createSharedTier } from '../../src/sessions/shared.ts';
import { storeReader, together } from '../../src/sessions/store.ts';
import { tokenHash } from '../../src/sessions/token-hash.ts';
import { report } from '../support/figures.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { openSeededStore, type SeededStore } from '../support/seeded-store.ts';

const TIMES = scale({ quick: 300, full: 10_000 });
const AT_ONCE = 10;
const NAME = 'better-auth.session_token';
const SECRET = 'the-secret-of-this-test-0123456789-abcdefghij';

/** What a lookup is about to do when it is held; it may skip some. */
const STEPS = ['to ask Redis', 'to read Redis', 'to ask the store', 'to read the store', 'to fill', 'to end'];
/** What goes on beside it, each at one of its steps. */
const EVENTS = ['change', 'tell', 'hear', 'third hears', 'third asks'] as const;
type Event = (typeof EVENTS)[number];

interface Change {
  /** Done to the rows. */
  readonly statement: string;
  /** The writer's own hook. */
  tell(revocations: Revocations, subject: Subject): Promise<void>;
  /** What the trigger says. */
  payload(subject: Subject): string;
}

interface Subject {
  readonly userId: string;
  readonly token: string;
}

const CHANGES: Record<string, Change> = {
  'session ends': {
    statement: 'delete from session where "userId" = $1',
    tell: (revocations, { token }) => revocations.sessionChanged(token),
    payload: ({ token }) => `s:${tokenHash(token)}`,
  },
  'person is banned': {
    statement: 'update "user" set banned = true where id = $1',
    tell: (revocations, { userId }) => revocations.userChanged(userId),
    payload: ({ userId }) => `u:${userId}`,
  },
};

/** One gateway's parts. */
interface Parts {
  readonly lookUp: LookUpSession;
  readonly revocations: Revocations;
}

let store: SeededStore;
const connections: Redis[] = [];
let held: Parts;
let writer: Parts;
let third: Parts;
/** What holds the lookup of a session, by token hash. */
const holds = new Map<string, (step: number) => Promise<void>>();

beforeAll(async () => {
  store = await openSeededStore('postgres+redis');
  const hold: Hold = async (hash, step) => holds.get(hash)?.(STEPS.indexOf(step));
  [held, writer, third] = [await makeParts(hold), await makeParts(), await makeParts()];
  // Each begins an epoch with its first question, and learns of the last one with its next.
  for (const round of ['1', '2'])
    for (const parts of [held, writer, third]) await parts.lookUp(cookieOf(round.repeat(32)));
});
afterAll(async () => {
  for (const redis of connections) redis.disconnect();
  await store?.close();
});

test.for(Object.entries(CHANGES))(
  'a %s, and stays so, whenever it is looked up',
  UNHURRIED,
  async ([, change], context) => {
    const revived: string[] = [];
    failures = 0;
    let left = TIMES;
    const work = async () => {
      while (left-- > 0) {
        const plan = randomPlan();
        const where = await whoRevives(change, plan);
        if (where.length > 0) revived.push(`${JSON.stringify(plan)}: ${where}`);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    report(context, { interleavings: TIMES, revived: revived.length, failures });
    expect(revived).toEqual([]);
  },
);

type Plan = Readonly<Record<Event, number>> & { readonly inRedis: boolean };

/** Nobody hears of a change before it. */
function randomPlan(): Plan {
  const from = (first: number) => first + Math.floor(Math.random() * (STEPS.length - first));
  const change = from(0);
  const after = () => from(change);
  return {
    change,
    tell: after(),
    hear: after(),
    'third hears': after(),
    'third asks': from(0),
    inRedis: Math.random() < 0.5,
  };
}

/** @returns who serves the session when all is done */
async function whoRevives(change: Change, plan: Plan): Promise<string[]> {
  const userId = await store.addPerson();
  const subject = { userId, token: await store.addSession(userId) };
  const cookie = cookieOf(subject.token);
  if (plan.inRedis) await writer.lookUp(cookie);
  const doing: Record<Event, () => unknown> = {
    change: () => store.rows.query(change.statement, userId),
    tell: () => change.tell(writer.revocations, subject),
    hear: () => held.revocations.heard(change.payload(subject)),
    'third hears': () => third.revocations.heard(change.payload(subject)),
    'third asks': () => third.lookUp(cookie),
  };
  const waiting = EVENTS.toSorted(
    (a, b) => plan[a] - plan[b] || Number(b === 'change') - Number(a === 'change') || Math.random() - 0.5,
  );
  let line: Promise<unknown> = Promise.resolve();
  const goTo = (step: number) => {
    line = line.then(async () => {
      for (let event = waiting[0]; event !== undefined && plan[event] <= step; event = waiting[0])
        await doing[waiting.shift() ?? event]();
    });
    return line.then(() => {});
  };
  holds.set(tokenHash(subject.token), goTo);
  await held.lookUp(cookie);
  await fills.get(tokenHash(subject.token))?.catch(failed);
  await goTo(STEPS.length);
  fills.delete(tokenHash(subject.token));
  holds.delete(tokenHash(subject.token));
  const gateways = Object.entries({ held, writer, third });
  const lookups = await Promise.all(gateways.map(([, parts]) => parts.lookUp(cookie)));
  return gateways.flatMap(([name], at) => (isServed(lookups[at]) ? [name] : []));
}

function isServed(lookup: Lookup | undefined): boolean {
  return lookup?.outcome === 'found' && lookup.session.ban === null;
}

type Hold = (hash: string, step: string) => Promise<void>;

async function makeParts(hold: Hold = async () => {}): Promise<Parts> {
  const redis = await openRedis(store.redisUrl ?? '', () => {});
  connections.push(redis);
  const shared = createSharedTier(holding(redis, hold), { secret: SECRET, staleIfError: 900_000 });
  const read = together(storeReader(store.database));
  const log = createRevocationLog();
  const lookUp = createLookup({
    findCookie: cookieFinder(NAME),
    verifyToken: tokenVerifier([SECRET]),
    local: createLocalTier({ log, freshMs: () => 60_000, staleIfErrorMs: 60_000 }),
    shared,
    async readStore(token) {
      await hold(tokenHash(token), 'to ask the store');
      const answer = await read(token);
      await hold(tokenHash(token), 'to read the store');
      return answer;
    },
    readFallback: () => null,
    log,
    health: { failed, answered: () => {}, isAway: () => false },
    hearsChanges: () => true,
  });
  return { lookUp, revocations: createRevocations(store.database, log, shared, failed) };
}

/** A busy machine may keep an answer longer than a tier is waited for: that is no revival, but no proof either. */
let failures = 0;
const failed = () => {
  failures++;
};

/** Fills that are under way, by token hash: no lookup waits for its own. */
const fills = new Map<string, Promise<unknown>>();

/** The same connection, whose questions and fills are held. */
function holding(redis: Redis, hold: Hold): Redis {
  const hashOf = (key: string) => key.slice(key.lastIndexOf(':') + 1);
  const mget = async (...keys: string[]) => {
    const hash = hashOf(keys.at(-1) ?? '');
    await hold(hash, 'to ask Redis');
    const answer = await redis.mget(...keys);
    await hold(hash, 'to read Redis');
    return answer;
  };
  const evaluate = (script: string, keys: number, key: string, ...values: string[]) => {
    const fill = hold(hashOf(key), 'to fill').then(() => redis.eval(script, keys, key, ...values));
    fills.set(hashOf(key), fill);
    return fill;
  };
  return new Proxy(redis, {
    get(target, name) {
      const own = { mget, eval: evaluate }[String(name)];
      if (own) return own;
      const value = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function cookieOf(token: string): string {
  return `${NAME}=${sign(token, SECRET)}`;
}

test('a gateway that stood still while the session ended does not bring it back', async () => {
  const userId = await store.addPerson();
  const subject = { userId, token: await store.addSession(userId) };
  const change = CHANGES['session ends'] as Change;
  const hash = tokenHash(subject.token);
  const cookie = cookieOf(subject.token);
  holds.set(hash, async (step) => {
    if (STEPS[step] !== 'to read the store') return;
    await store.rows.query(change.statement, userId);
    await change.tell(writer.revocations, subject);
    third.revocations.heard(change.payload(subject));
    await new Promise((resolve) => setTimeout(resolve, 3200));
  });
  await held.lookUp(cookie);
  await fills.get(hash);
  const seen = await third.lookUp(cookie);
  held.revocations.heard(change.payload(subject));
  expect([seen, await third.lookUp(cookie), await held.lookUp(cookie)].map(isServed)).toEqual([
    false,
    false,
    false,
  ]);
});
