// Whatever stands in Redis: a session that has ended is not found in it, a person is not somebody else by it, and
// nothing breaks. What counts is only what a gateway sealed for that very session, and what was not ended since.
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRedis } from '../../src/sessions/redis.ts';
import { createSharedTier } from '../../src/sessions/shared.ts';
import { type Client, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { askRedis, createRedisSpace } from '../support/redis.ts';
import { UNHURRIED } from '../support/scale.ts';

let here: TestGateway;
/** Where nobody has been yet: only Redis and the store can answer. */
let there: TestGateway;
let redisUrl: string;
beforeAll(async () => {
  here = await startTestGateway({ logLevel: 'error' });
  there = await here.another({ BETTER_AUTH_URL: here.url });
  redisUrl = here.config.redisUrl ?? '';
  witness = await signedIn();
  // Each begins an epoch with its first question, and learns of the last one with its next.
  for (const gateway of [here, there, here]) {
    const { client } = await signedIn();
    await createClient(gateway.url, client.cookies).fetch('/api/x');
  }
});
afterAll(async () => {
  await there?.close();
  await here?.close();
});

const ask = (...command: [string, ...string[]]) => askRedis(redisUrl, ...command);

interface Person {
  readonly client: Client;
  /** As they were given, whatever the client was told later. */
  readonly cookies: ReadonlyMap<string, string>;
  readonly userId: string;
  readonly token: string;
  readonly key: string;
}

async function signedIn(): Promise<Person> {
  const { client } = await signInWithGitHub(here, addPerson(here.github).login);
  const { user } = await client.json<{ user: { id: string } }>('/api/auth/get-session');
  const [token = ''] = decodeURIComponent(client.cookies.get('better-auth.session_token') ?? '').split('.');
  const key = `gateway:session:${createHash('sha256').update(token).digest('hex')}`;
  return { client, cookies: new Map(client.cookies), userId: user.id, token, key };
}

const MOST_TIMES = 50;

/** Signed in, and its entry as `here` wrote it: a change of the person just before keeps it out for a while. */
async function inRedis(): Promise<Person & { entry: string }> {
  for (let time = 0; time < MOST_TIMES; time++) {
    const person = await signedIn();
    expect((await person.client.fetch('/api/x')).status).toBe(200);
    const entry = await ask('GET', person.key);
    if (/^[\w-]{43}\.\{/.test(String(entry))) return { ...person, entry: String(entry) };
  }
  throw new Error('no session reaches Redis');
}

type Shape = (entry: string, person: Person) => string | Promise<string>;

const withMember =
  (change: object): Shape =>
  (entry) => {
    const [seal = ''] = entry.split('.', 1);
    const { session, at } = JSON.parse(entry.slice(seal.length + 1));
    return `${seal}.${JSON.stringify({ session: { ...session, ...change }, at })}`;
  };
const bare =
  (shape: Shape): Shape =>
  async (entry, person) =>
    (await shape(entry, person)).replace(/^[^.]*\./, '');

const SHAPES: Record<string, Shape> = {
  nothing: () => '',
  'not JSON': () => 'not JSON',
  '{}': () => '{}',
  '[]': () => '[]',
  null: () => 'null',
  NaN: () => 'NaN',
  'a number': () => '1',
  'a string': () => '"x"',
  'the mark of a deleted entry': () => '-',
  'a seal alone': (entry) => entry.split('.', 1)[0] ?? '',
  'a seal of nothing': (entry) => `${entry.split('.', 1)[0]}.`,
  'a seal of {}': (entry) => `${entry.split('.', 1)[0]}.{}`,
  'the body alone': bare((entry) => entry),
  'the body under no seal': bare((entry) => `x..${entry.slice(entry.indexOf('.') + 1)}`),
  'as it was, again': (entry) => entry,
  'cut short': (entry) => entry.slice(0, -1),
  'made longer': (entry) => `${entry} `,
  'no end': withMember({ expiresAt: undefined }),
  'no end, bare': bare(withMember({ expiresAt: undefined })),
  'an end that is no number': withMember({ expiresAt: 'NaN' }),
  'an end far away': withMember({ expiresAt: 9e15 }),
  'somebody else': withMember({ userId: 'user-of-somebody-else' }),
  'a role more': withMember({ role: 'admin' }),
  'no ban': withMember({ ban: null, banned: false }),
  'the entry of somebody else': async () => (await inRedis()).entry,
  'sealed with another secret': (_entry, person) => sealedWith(ANOTHER, person),
  'ten megabytes': () => 'x'.repeat(10_000_000),
  'ten megabytes of JSON': (entry) => withMember({ name: 'x'.repeat(10_000_000) })(entry, undefined as never),
  'a NUL': (entry) => `\0${entry}`,
  'what is no UTF-8': () => '\ud800\udfff\ufffd',
};

const ANOTHER = 'another-secret-0123456789-abcdefghijklmn';

/** An entry in all as a gateway would write it, in the epoch that counts. */
async function sealedWith(secret: string, { token, userId }: Person): Promise<string> {
  const epoch = String(await ask('GET', 'gateway:epoch'));
  const aside = await createRedisSpace();
  const redis = await openRedis(aside.url, () => {});
  try {
    const tier = createSharedTier(redis, { secret, staleIfError: 900_000 });
    await tier.get('any');
    await askRedis(aside.url, 'SET', 'gateway:epoch', epoch);
    await tier.get('any');
    const github = { id: '1', login: 'x', encryptedToken: 'v1.x', tokenExpiresAt: null, scopes: ['repo'] };
    const person = { userId, email: 'x@example.com', name: 'x', role: 'admin', ban: null, github };
    await tier.set(token, { ...person, id: 'x', expiresAt: Date.now() + 3_600_000, impersonatedBy: null });
    const [key = ''] = (await askRedis(aside.url, 'KEYS', 'gateway:session:*')) as string[];
    return String(await askRedis(aside.url, 'GET', key));
  } finally {
    redis.disconnect();
    await aside.drop();
  }
}

/** The key as another type. */
const TYPES: Record<string, (key: string, entry: string) => [string, ...string[]]> = {
  'a list': (key, entry) => ['RPUSH', key, entry],
  'a hash': (key, entry) => ['HSET', key, 'session', entry],
  'a set': (key, entry) => ['SADD', key, entry],
  'a sorted set': (key, entry) => ['ZADD', key, '1', entry],
  'a stream': (key, entry) => ['XADD', key, '*', 'session', entry],
};

type Write = (person: Person & { entry: string }) => Promise<unknown>;

const writes: [string, Write][] = [
  ...Object.entries(SHAPES).map(([name, shape]): [string, Write] => [
    name,
    async (person) => ask('SET', person.key, await shape(person.entry, person)),
  ]),
  ...Object.entries(TYPES).map(([name, command]): [string, Write] => [
    name,
    async ({ key, entry }) => {
      await ask('DEL', key);
      await ask(...command(key, entry));
    },
  ]),
  [
    'of an epoch that is over',
    async ({ key, entry }) => {
      await ask('SET', 'gateway:epoch', 'another');
      await ask('SET', key, entry);
    },
  ],
];

/** Signs out, and waits until the other gateway has heard it: it marks the entry deleted, too. */
async function signOut({ client }: Person): Promise<void> {
  expect((await client.fetch('/api/auth/sign-out', post())).status).toBe(200);
  roles++;
  // News arrives in order.
  await here.store.query(`update "user" set role = $1 where id = $2`, `role-${roles}`, witness.userId);
  await expect
    .poll(() => servedThere(witness), { interval: 1, timeout: 5000 })
    .toBe(`${witness.userId} role-${roles}`);
}

let witness: Person;
let roles = 0;

/** Who the other gateway takes it for: a user id, or the status that was answered. */
async function servedThere({ cookies }: Person): Promise<string | number> {
  const response = await createClient(there.url, new Map(cookies)).fetch('/api/x');
  const { headers } = await response.json();
  return response.status === 200
    ? `${headers['x-forwarded-user']} ${headers['x-forwarded-groups']}`
    : response.status;
}

test('no value brings an ended session back, or makes a living one another', UNHURRIED, async (context) => {
  const faults: string[] = [];
  let errors = 0;
  for (const [name, write] of writes) {
    const [alive, ended] = [await inRedis(), await inRedis()];
    await write(alive);
    await signOut(ended);
    await write(ended);
    const seen = [await servedThere(alive), await servedThere(ended)];
    errors += seen.filter((each) => typeof each === 'number' && each >= 500).length;
    if (seen[0] !== `${alive.userId} user` || seen[1] !== 401) faults.push(`${name}: ${seen}`);
    await ask('DEL', alive.key, ended.key);
  }
  report(context, { shapes: writes.length, accepted: faults.length, errors });
  expect(faults).toEqual([]);
  for (const gateway of [here, there])
    expect(gateway.logLines().filter((line) => line.includes('"level":50'))).toEqual([]);
});

test('no epoch does, either, nor does it take the cache away for good', UNHURRIED, async () => {
  const epochs: [string, ...string[]][] = [
    ['SET', 'gateway:epoch', ''],
    ['SET', 'gateway:epoch', 'x'],
    ['SET', 'gateway:epoch', 'x'.repeat(1_000_000)],
    ['RPUSH', 'gateway:epoch', 'x'],
    ['HSET', 'gateway:epoch', 'x', 'y'],
    ['DEL', 'gateway:epoch'],
  ];
  for (const command of epochs) {
    const ended = await inRedis();
    await ask('DEL', 'gateway:epoch');
    await ask(...command);
    await signOut(ended);
    await ask('SET', ended.key, ended.entry);
    expect([command[0], await servedThere(ended)]).toEqual([command[0], 401]);
    await ask('DEL', 'gateway:epoch');
    for (let round = 0; round < 2; round++) {
      const alive = await signedIn();
      expect(await servedThere(alive)).toBe(`${alive.userId} user`);
    }
    await expect.poll(inRedis, { timeout: 5000 }).toMatchObject({ key: expect.any(String) });
  }
});
