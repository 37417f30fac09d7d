// How long until a change is felt by another gateway that has the session in memory, whoever wrote it.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { type Surroundings, startSurroundings } from '../support/gateway.ts';
import { type GatewayProcess, runCommand, startGatewayProcess } from '../support/gateway-process.ts';
import { addPerson } from '../support/person.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import {
  applicationWriter,
  CHANGES,
  type Change,
  gatewayWriter,
  type Subject,
  sqlWriter,
  type Writer,
} from '../support/writers.ts';

const TIMES = scale({ quick: 15, full: 500 });
// The promise is measured in the full run; the quick one, beside other tests, only sees that it comes about.
const LONGEST_MS = scale({ quick: 2000, full: 100 });
/** What is not felt by then is missed. */
const PATIENCE_MS = 2000;
const SECRET = 'a-secret-for-tests-0123456789abcdefghij';
const CONFIG = `
upstreams: { hub: { targets: ["\${UPSTREAM}"], githubToken: forwarded } }
routes: [{ path: /api/**, upstream: hub, access: session }]
admins: [monalisa]
`;

describe.each(['postgres+redis', 'postgres'] as const)('gateway processes on %s', (stores) => {
  let around: Surroundings;
  let here: GatewayProcess;
  let there: GatewayProcess;
  let admin: Client;
  let databaseUrl: string;
  const opened = new AsyncDisposableStack();

  beforeAll(async () => {
    around = await startSurroundings({ stores, config: CONFIG, env: { LOG_LEVEL: 'warn' } });
    opened.defer(() => around.close());
    databaseUrl = around.env.DATABASE_URL ?? '';
    expect(await runCommand(['migrate'], around.env)).toMatchObject({ code: 0 });
    here = await process();
    there = await process({ BETTER_AUTH_URL: here.url });
    admin = (await signInWithGitHub(here, 'monalisa')).client;
  });
  afterAll(() => opened.disposeAsync());

  const writers: [string, () => Writer | Promise<Writer>][] = [
    ['another gateway', () => gatewayWriter(here, admin)],
    ['a gateway that knows of no Redis', withoutRedis],
    [
      'an application on the same database',
      () => applicationWriter({ url: here.url, databaseUrl, secret: SECRET }, admin),
    ],
    ['SQL', () => sqlWriter(databaseUrl)],
  ];

  test.for(writers)('what %s writes is felt', UNHURRIED, async ([, open], context) => {
    await using writer = disposable(await open());
    const lags: number[] = [];
    const missed: Change[] = [];
    for (let time = 0; time < TIMES; time++) {
      const change = CHANGES[time % CHANGES.length] as Change;
      const lag = await lagOf(change, writer);
      if (lag === null) missed.push(change);
      else lags.push(lag);
    }
    const { p50Ms, p99Ms, maxMs } = percentiles(lags);
    report(context, { changes: TIMES, missed: missed.length, p50Ms, p99Ms, maxMs });
    expect(missed).toEqual([]);
    expect(p99Ms).toBeLessThanOrEqual(LONGEST_MS);
  });

  /** From what the writer was told to the first answer that is another one. */
  async function lagOf(change: Change, writer: Writer): Promise<number | null> {
    const subject = change === 'impersonation end' ? await anImpersonated() : await aPerson();
    const elsewhere = createClient(there.url, new Map(subject.client.cookies));
    if (change === 'unban') {
      await writer.write('ban', subject);
      await expect.poll(async () => (await elsewhere.fetch('/api/x')).status, { interval: 1 }).not.toBe(200);
    }
    const before = await whatIsServed(elsewhere);
    expect(await whatIsServed(elsewhere), 'warm').toEqual(before);
    await writer.write(change, subject);
    const startedAt = performance.now();
    while (performance.now() - startedAt < PATIENCE_MS) {
      if ((await whatIsServed(elsewhere)) !== before) return performance.now() - startedAt;
      await sleep(1);
    }
    return null;
  }

  async function aPerson(): Promise<Subject> {
    const { login } = addPerson(around.github);
    const { client } = await signInWithGitHub(here, login);
    return subjectOf(client, login);
  }

  async function anImpersonated(): Promise<Subject> {
    const { userId, login } = await aPerson();
    const client = createClient(here.url, new Map(admin.cookies));
    const response = await client.fetch('/api/auth/admin/impersonate-user', post({ userId }));
    expect(response.status).toBe(200);
    return subjectOf(client, login);
  }

  async function withoutRedis(): Promise<Writer> {
    const { REDIS_URL: _none, ...env } = around.env;
    const gateway = await startGatewayProcess({ env, github: around.github }, { BETTER_AUTH_URL: here.url });
    const writer = gatewayWriter(gateway, admin);
    return { ...writer, close: async () => void (await gateway.end()) };
  }

  async function process(more: Record<string, string> = {}): Promise<GatewayProcess> {
    const gateway = await startGatewayProcess(around, more);
    opened.defer(async () => void (await gateway.end()));
    return gateway;
  }
});

async function subjectOf(client: Client, login: string): Promise<Subject> {
  const cookie = decodeURIComponent(client.cookies.get('better-auth.session_token') ?? '');
  const { user } = await client.json<{ user: { id: string } }>('/api/auth/get-session');
  return { client, login, userId: user.id, token: cookie.split('.', 1)[0] ?? '' };
}

/** All that the change of a session can change in an answer. */
async function whatIsServed(client: Client): Promise<string> {
  const response = await client.fetch('/api/x');
  const { code, headers = {} } = await response.json();
  return JSON.stringify([
    response.status,
    code,
    ...['user', 'groups', 'access-token'].map((name) => headers[`x-forwarded-${name}`]),
    headers['x-gateway-scopes'],
    headers['x-gateway-impersonated-by'],
  ]);
}

function percentiles(values: readonly number[]) {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN;
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}

function disposable(writer: Writer): Writer & AsyncDisposable {
  return { ...writer, [Symbol.asyncDispose]: () => writer.close() };
}
