// A gateway of several processes: one port, one operator's port, and no process that cannot be lost.
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { type Client, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { DEFAULT_CONFIG, type Surroundings, startSurroundings } from '../support/gateway.ts';
import { type GatewayProcess, runCommand, startGatewayProcess } from '../support/gateway-process.ts';
import { startKeptClients } from '../support/kept-clients.ts';

const ROUTE = '/public/**';

// Three processes start in each of these, on however few cores.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 });

let around: Surroundings;
beforeAll(async () => {
  around = await startSurroundings({ stores: 'postgres' });
  expect(await runCommand(['migrate'], around.env)).toMatchObject({ code: 0 });
});
afterAll(() => around.close());

const start = async (env: Record<string, string> = {}) => {
  const gateway = await startGatewayProcess(around, { WORKERS: '2', ...env });
  onTestFinished(async () => void (await gateway.end()));
  await expect.poll(() => isReady(gateway), WAIT).toBe(true);
  return gateway;
};
const WAIT = { timeout: 90_000, interval: 20 };
const readyz = async ({ adminUrl }: GatewayProcess) => fetch(`${adminUrl}/readyz`);
const isReady = async (gateway: GatewayProcess) => (await readyz(gateway)).ok;
/** Processes that are children of this one, by /proc. */
const workersOf = ({ pid }: GatewayProcess) =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && parentOf(name) === pid)
    .map(Number);
const parentOf = (pid: string) => {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]);
  } catch {
    return null;
  }
};
const metric = async ({ adminUrl }: GatewayProcess, name: string) => {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? 0 : Number(line.slice(name.length));
};
const passed = (gateway: GatewayProcess) =>
  metric(gateway, `gateway_requests_total{route="${ROUTE}",method="GET",code="200"}`);
/** Each on a connection of its own, so that both processes have their share. */
const ask = async ({ url }: GatewayProcess, count: number) => {
  for (let at = 0; at < count; at++)
    expect((await createClient(url).fetch('/public/x', { headers: { connection: 'close' } })).status).toBe(
      200,
    );
};
const statusesOf = async ({ url }: GatewayProcess, cookies: Client['cookies']) => {
  const answers = Array.from({ length: 12 }, () =>
    createClient(url, new Map(cookies)).fetch('/api/x', { headers: { connection: 'close' } }),
  );
  return new Set((await Promise.all(answers)).map(({ status }) => status));
};

test('both processes serve, a sign-out is felt in both, and their metrics are added up', async () => {
  const gateway = await start();
  expect(workersOf(gateway)).toHaveLength(2);
  await ask(gateway, 20);
  await expect.poll(() => passed(gateway), WAIT).toBe(20);
  expect(await metric(gateway, 'gateway_workers')).toBe(2);
  const { client } = await signInWithGitHub(gateway, 'octocat');
  const cookies = new Map(client.cookies);
  expect(await statusesOf(gateway, cookies)).toEqual(new Set([200]));
  expect((await client.fetch('/api/auth/sign-out', post())).status).toBe(200);
  await expect.poll(() => statusesOf(gateway, cookies), WAIT).toEqual(new Set([401]));
  expect(new Set(linesOf(gateway).map(({ worker }) => worker)).size).toBe(2);
});

interface Line {
  worker: number;
  msg: string;
}
const linesOf = (gateway: GatewayProcess): Line[] =>
  gateway
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line)
    .filter(({ msg }) => msg === 'request');

test('a process that is killed under load costs the requests it had, and is replaced; what it counted stays', async () => {
  const gateway = await start();
  await ask(gateway, 20);
  await expect.poll(() => passed(gateway), WAIT).toBe(20);
  const [victim, survivor] = workersOf(gateway);
  let isLoaded = true;
  let failed = 0;
  let ok = 0;
  const load = Array.from({ length: 8 }, async () => {
    while (isLoaded)
      await createClient(gateway.url)
        // A connection that was being handed to the one that is killed is answered by nobody.
        .fetch('/public/x', { signal: AbortSignal.timeout(10_000) })
        // The head may have come before it was killed, and the body not.
        .then((answer) => answer.arrayBuffer())
        .then(
          () => ok++,
          () => failed++,
        );
  });
  await expect.poll(() => ok, WAIT).toBeGreaterThan(20);
  process.kill(victim as number, 'SIGKILL');
  const okThen = ok;
  await expect
    .poll(() => workersOf(gateway), WAIT)
    .toEqual([survivor, expect.not.toSatisfy((pid: number) => pid === victim)]);
  await expect.poll(() => isReady(gateway), WAIT).toBe(true);
  await expect.poll(() => ok, WAIT).toBeGreaterThan(okThen + 20);
  isLoaded = false;
  await Promise.all(load);
  // Requests under way: one a connection, and those that were being handed over.
  expect(failed).toBeLessThanOrEqual(16);
  expect(await passed(gateway)).toBeGreaterThanOrEqual(20);
  expect(await metric(gateway, 'gateway_workers_replaced_total')).toBe(1);
});

test('SIGHUP renews them one after the other: no request fails, and the configuration is read anew', async () => {
  const gateway = await start();
  const before = workersOf(gateway);
  await writeFile(
    around.env.GATEWAY_CONFIG ?? '',
    DEFAULT_CONFIG.replace('routes:', 'routes:\n  - { path: /new/**, upstream: plain, access: public }'),
  );
  onTestFinished(() => writeFile(around.env.GATEWAY_CONFIG ?? '', DEFAULT_CONFIG));
  const statusOf = async (path: string) =>
    (await createClient(gateway.url).fetch(path, { headers: { connection: 'close' } })).status;
  expect(await statusOf('/new/x')).toBe(404);
  process.kill(gateway.pid, 'SIGHUP');
  const kept = startKeptClients(gateway.url, 4);
  const seen = new Set<number>();
  const isRenewed = () => {
    const now = workersOf(gateway);
    return now.length === 2 && !now.some((pid) => before.includes(pid));
  };
  for (const deadline = Date.now() + WAIT.timeout; !isRenewed() && Date.now() < deadline; )
    seen.add(await statusOf('/public/x'));
  expect(isRenewed()).toBe(true);
  expect(seen).toEqual(new Set([200]));
  expect(await kept.stop()).toEqual([]);
  expect(kept.answered()).toBeGreaterThan(20);
  expect(await statusOf('/new/x')).toBe(200);
});

test('SIGTERM ends all of them with what is under way, exit 0', async () => {
  const gateway = await start();
  const workers = workersOf(gateway);
  around.upstream.respond((_request, response) => void setTimeout(() => response.end('late'), 300));
  onTestFinished(() => around.upstream.respond(undefined));
  const seen = around.upstream.seen.length;
  const answer = createClient(gateway.url).fetch('/public/slow');
  await expect.poll(() => around.upstream.seen.length, WAIT).toBeGreaterThan(seen);
  expect(await gateway.end(), gateway.output()).toBe(0);
  expect(await (await answer).text()).toBe('late');
  for (const pid of workers) expect(() => process.kill(pid, 0)).toThrow();
});

test('what keeps a process from starting ends all of them, and is said once', async () => {
  const { code, output } = await runCommand(['start'], {
    ...around.env,
    WORKERS: '2',
    HOST: '192.0.2.1',
    PORT: '1',
    ADMIN_PORT: '0',
    BETTER_AUTH_URL: 'http://127.0.0.1:1',
  });
  expect(code).toBe(1);
  expect(output.match(/Cannot listen: /g)).toHaveLength(1);
});

test('the embedded file is one process’s: more are refused', async () => {
  const { DATABASE_URL, ...env } = around.env;
  const { code, output } = await runCommand(['start'], { ...env, WORKERS: '2' });
  expect([code, output]).toEqual([1, expect.stringContaining('environment WORKERS  is 2')]);
});
