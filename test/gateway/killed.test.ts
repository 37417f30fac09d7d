// A gateway is killed in the middle of signing people in and of refreshing their tokens, at every step: nobody is half
// made, and nobody is locked out.
import { setTimeout as sleep } from 'node:timers/promises';
import { Client as PostgresClient } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, createClient, sendToken } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { type Surroundings, startSurroundings } from '../support/gateway.ts';
import { type GatewayProcess, runCommand, startGatewayProcess } from '../support/gateway-process.ts';
import { addPerson } from '../support/person.ts';
import { scale } from '../support/scale.ts';

const KILLS_OF_EACH = scale({ quick: 1, full: 50 });
const MOST_ROUNDS = scale({ quick: 6, full: 240 });
const TOKEN_PATH = '/login/oauth/access_token';

interface Somebody {
  readonly id: number;
  readonly login: string;
  /** Signed in before; of others their sign-in is what is interrupted. */
  readonly client: Client;
}

/** Where somebody is when the process is killed. */
interface Step {
  readonly name: string;
  readonly kind: 'oauth' | 'pat' | 'refresh';
  /** What GitHub does not answer meanwhile; or what the store holds up, for this person, and how that shows. */
  readonly at:
    | { readonly path: string }
    | { readonly lock: string; readonly hold: (id: string) => Promise<unknown> };
}

/**
 * How long the gateway that is killed waits for the store: of a second, all would have to come to their steps within one,
 * which a process that has just started does not manage on a busy machine.
 */
const STORE_PATIENCE_MS = 60_000;
const ARRIVAL_LIMIT_MS = 20_000;

let around: Surroundings;
let holder: PostgresClient;
/** Never in a transaction: within one, Postgres shows the connections there were when it was first asked for them. */
let watcher: PostgresClient;
let toBeKilled: Record<string, string>;
beforeAll(async () => {
  around = await startSurroundings({ stores: 'postgres', logLevel: 'error' });
  around.github.app.expiringTokens = true;
  // What the address says goes before what the gateway asks for.
  const patient = new URL(around.env.DATABASE_URL ?? '');
  patient.searchParams.set('statement_timeout', String(STORE_PATIENCE_MS));
  patient.searchParams.set('query_timeout', String(STORE_PATIENCE_MS));
  toBeKilled = { DATABASE_URL: patient.href };
  expect(await runCommand(['migrate'], around.env)).toMatchObject({ code: 0 });
  holder = new PostgresClient({ connectionString: around.env.DATABASE_URL });
  watcher = new PostgresClient({ connectionString: around.env.DATABASE_URL });
  await Promise.all([holder.connect(), watcher.connect()]);
});
afterAll(async () => {
  await Promise.all([holder?.end(), watcher?.end()]);
  await around?.close();
});

const holdTable = () => holder.query('lock table session in exclusive mode');
const holdTurn = (id: string) =>
  holder.query(`select pg_advisory_xact_lock(hashtextextended($1, 0))`, [`github:${id}`]);
const holdAccount = (id: string) =>
  holder.query(`select id from account where "accountId" = $1 for update`, [id]);
/** Somebody else is about to take the place of the profile. */
async function holdProfile(id: string): Promise<void> {
  await holder.query(
    `insert into "user" (id, name, email, "emailVerified", "createdAt", "updatedAt")
     values ($1, 'x', $1, true, now(), now())`,
    [`holder-${id}`],
  );
  await holder.query(
    `insert into gateway_github_profile ("userId", "githubId", login, "tokenKind", "scopesKnown", "updatedAt")
     values ($1, $2, 'x', 'oauth', 1, now())`,
    [`holder-${id}`, id],
  );
}

const SIGN_INS = ['oauth', 'pat'] as const;
const STEPS: readonly Step[] = [
  { name: 'GitHub is asked for a token', kind: 'oauth', at: { path: TOKEN_PATH } },
  { name: 'GitHub is asked for a token', kind: 'refresh', at: { path: TOKEN_PATH } },
  ...SIGN_INS.flatMap((kind) => [
    { name: 'GitHub is asked who it is', kind, at: { path: '/user' } },
    { name: 'GitHub is asked for the e-mail', kind, at: { path: '/user/emails' } },
    { name: 'the person waits for their turn', kind, at: { lock: 'advisory', hold: holdTurn } },
    {
      name: 'person and account are written, the profile is not',
      kind,
      at: { lock: 'transactionid', hold: holdProfile },
    },
    { name: 'all is written but the session', kind, at: { lock: 'relation', hold: holdTable } },
  ]),
  { name: 'the new token is written', kind: 'refresh', at: { lock: 'transactionid', hold: holdAccount } },
];

test('a gateway killed at any step leaves nobody half made and nobody locked out', {
  timeout: scale({ quick: 300_000, full: 3_600_000 }),
}, async (context) => {
  const interrupted = new Map(STEPS.map((step) => [step, 0]));
  let [kills, halfMade, lockedOut, askedToSignIn] = [0, 0, 0, 0];
  let gateway = await startGatewayProcess(around, toBeKilled);
  for (let round = 0; round < MOST_ROUNDS && Math.min(...interrupted.values()) < KILLS_OF_EACH; round++) {
    const people = await peopleFor(gateway);
    for (const step of await interruptAll(gateway, people))
      interrupted.set(step, (interrupted.get(step) ?? 0) + 1);
    kills++;
    gateway = await startGatewayProcess(around, toBeKilled);
    halfMade += await countHalfMade();
    for (const [step, person] of people) {
      const client = createClient(gateway.url, person.client.cookies);
      if (step.kind === 'refresh') {
        const code = await codeOf(client);
        // What GitHub gave and nobody wrote is lost: only then is a person asked to sign in again, and GitHub not again.
        if (code === 'reauth-required' && step.name === 'the new token is written') askedToSignIn++;
        else if (code !== 'ok') lockedOut++;
        const before = around.github.control.refreshes;
        if ((await codeOf(client)) !== code || around.github.control.refreshes !== before) lockedOut++;
      }
      const again = await signIn(gateway, step, person);
      if ((await codeOf(again)) !== 'ok') lockedOut++;
    }
    halfMade += await countHalfMade();
  }
  await gateway.end();
  const each = Math.min(...interrupted.values());
  report(context, {
    steps: STEPS.length,
    kills,
    interruptedAtEachStepAtLeast: each,
    halfMade,
    lockedOut,
    askedToSignIn,
  });
  expect(
    Object.fromEntries(
      [...interrupted].map(([{ kind, name }, n]) => [`${kind}: ${name}`, n >= KILLS_OF_EACH]),
    ),
  ).toEqual(Object.fromEntries(STEPS.map(({ kind, name }) => [`${kind}: ${name}`, true])));
  expect([halfMade, lockedOut]).toEqual([0, 0]);
});

/** Somebody new for each step; those whose token is refreshed are signed in, and their token has ended. */
async function peopleFor(gateway: GatewayProcess): Promise<Map<Step, Somebody>> {
  const people = STEPS.map(async (step) => {
    const { id, login } = addPerson(around.github);
    if (step.kind !== 'refresh') return [step, { id, login, client: createClient(gateway.url) }] as const;
    const client = await signIn(gateway, step, { login });
    await holder.query(
      `update account set "accessTokenExpiresAt" = now() - interval '1 second' where "accountId" = $1`,
      [String(id)],
    );
    return [step, { id, login, client }] as const;
  });
  const made = new Map(await Promise.all(people));
  // The change travels.
  await sleep(200);
  return made;
}

/** Brings everybody to their step, and kills the process. @returns the steps at which somebody was by then */
async function interruptAll(gateway: GatewayProcess, people: ReadonlyMap<Step, Somebody>): Promise<Step[]> {
  const begin = new Map<Step, () => Promise<unknown>>();
  for (const [step, person] of people) begin.set(step, await ready(gateway, step, person));
  const over = new Set<Step>();
  const go = (step: Step) => {
    const isOver = () => over.add(step);
    begin.get(step)?.().then(isOver, isOver);
  };
  await holder.query('begin');
  try {
    // The store is waited for longer: what is reached first is still held up when the last arrives.
    const there = [...(await goToStore(go, people)), ...(await goToGitHub(go))];
    process.kill(gateway.pid, 'SIGKILL');
    return there.filter((step) => !over.has(step));
  } finally {
    around.github.control.heal();
    await holder.query('rollback');
    await expect.poll(connections, { timeout: 10_000 }).toBe(0);
    await gateway.end();
  }
}

/** One after the other: each is the next to ask. GitHub may take five seconds. */
async function goToGitHub(go: (step: Step) => void): Promise<Step[]> {
  const there: Step[] = [];
  const { control } = around.github;
  for (const step of STEPS) {
    if (!('path' in step.at)) continue;
    const { path } = step.at;
    const asked = () => control.requests.count(`${path === TOKEN_PATH ? 'POST' : 'GET'} ${path}`);
    const before = asked();
    control.fail('hang', { path, times: 1 });
    go(step);
    if (await becomes(async () => asked() > before, 4000)) there.push(step);
  }
  return there;
}

async function goToStore(go: (step: Step) => void, people: ReadonlyMap<Step, Somebody>): Promise<Step[]> {
  const expected = new Map<string, Step[]>();
  for (const [step, { id }] of people) {
    if (!('lock' in step.at)) continue;
    await step.at.hold(String(id));
    expected.set(step.at.lock, [...(expected.get(step.at.lock) ?? []), step]);
  }
  for (const steps of expected.values()) for (const step of steps) go(step);
  const arrived = async () => {
    const waiting = await waitingFor();
    return [...expected].flatMap(([lock, steps]) => (waiting.get(lock) === steps.length ? steps : []));
  };
  const all = [...expected.values()].flat().length;
  await becomes(async () => (await arrived()).length === all, ARRIVAL_LIMIT_MS);
  return arrived();
}

async function becomes(isTrue: () => Promise<boolean>, withinMs: number): Promise<boolean> {
  for (const deadline = Date.now() + withinMs; Date.now() < deadline; await sleep(2))
    if (await isTrue()) return true;
  return false;
}

/** How many wait for locks of each kind. */
async function waitingFor(): Promise<Map<string, number>> {
  const { rows } = await watcher.query<{ lock: string; n: number }>(
    `select l.locktype as lock, count(*)::int as n from pg_locks as l join pg_stat_activity as a using (pid)
     where not l.granted and a.application_name = 'better-hub-gateway' and a.datname = current_database()
     group by 1`,
  );
  return new Map(rows.map(({ lock, n }) => [lock, n]));
}

/** What the killed process had open is noticed by the server only when it goes on. */
async function connections(): Promise<number> {
  const { rows } = await watcher.query(
    `select count(*)::int as n from pg_stat_activity
     where application_name = 'better-hub-gateway' and datname = current_database() and state <> 'idle'`,
  );
  return rows[0].n;
}

/** Everything but the request that is interrupted. */
async function ready(
  gateway: GatewayProcess,
  { kind }: Step,
  { login, client }: Somebody,
): Promise<() => Promise<unknown>> {
  if (kind === 'refresh') return () => client.fetch('/api/x');
  if (kind === 'pat') {
    const token = tokenOf(login);
    return () => sendToken(client, token);
  }
  return callbackFor(gateway, client, login);
}

function tokenOf(login: string): string {
  return around.github.control.issueToken({ login, kind: 'classic', scopes: ['read:user', 'user:email'] });
}

async function signIn(
  gateway: GatewayProcess,
  { kind }: Pick<Step, 'kind'>,
  { login }: Pick<Somebody, 'login'>,
): Promise<Client> {
  const client = createClient(gateway.url);
  if (kind === 'pat') await patiently(() => sendToken(client, tokenOf(login)));
  else await (await callbackFor(gateway, client, login))();
  return client;
}

/** Everything of a sign-in but its last request. */
async function callbackFor(
  { github }: GatewayProcess,
  client: Client,
  login: string,
): Promise<() => Promise<Response>> {
  const start = '/api/auth/sign-in/social?provider=github&callbackURL=/api/home';
  const started = await patiently(() => client.fetch(start));
  const url = started.headers.get('location') ?? '';
  const callback = await github.control.authorize({ url, login });
  return () => client.fetch(callback);
}

/** Just started, or on a busy machine, a gateway may refuse for a moment: that is nobody's end. */
async function patiently(work: () => Promise<Response>): Promise<Response> {
  for (let left = 20; ; left--) {
    const response = await work();
    if (response.status !== 503 || left === 0) return response;
    await response.body?.cancel();
    await sleep(500);
  }
}

async function codeOf(client: Client): Promise<string> {
  const response = await patiently(() => client.fetch('/api/x'));
  if (response.status === 200) return 'ok';
  return ((await response.json()) as { code: string }).code;
}

/** People without an account, accounts without a profile or token, people twice. */
async function countHalfMade(): Promise<number> {
  const { rows } = await holder.query(`
    select (select count(*) from "user" as u where (select count(*) from account as a where a."userId" = u.id) <> 1)
      + (select count(*) from account as a where not exists
          (select 1 from gateway_github_profile as p where p."userId" = a."userId" and p."githubId" = a."accountId"))
      + (select count(*) - count(distinct "accountId") from account) as n`);
  return Number(rows[0].n);
}
