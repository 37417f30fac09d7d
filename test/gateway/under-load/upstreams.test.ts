// What one sick upstream does to the others, what is left of a capacity that is asked for twice, and whose answer is whose.
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, type TestContext, test } from 'vitest';
import { report } from '../../support/figures.ts';
import { type Surroundings, startSurroundings } from '../../support/gateway.ts';
import { type GatewayProcess, startGatewayProcess } from '../../support/gateway-process.ts';
import { percentile, type Sample, startLoad } from '../../support/load.ts';
import { isFullRun, scale, UNHURRIED } from '../../support/scale.ts';
import { send } from '../../support/send.ts';
import { startTarget, type TestTarget } from '../../support/target.ts';

const UPSTREAMS = scale({ quick: 10, full: 50 });
const ROUTES = scale({ quick: 40, full: 200 });
const CAPACITY = 10;

type Name = 'a' | 'b' | 'alone' | 'well' | 'hung' | 'slow';
let targets: Record<Name, TestTarget>;
let gateway: GatewayProcess;
const cleanUp = new AsyncDisposableStack();
beforeAll(async () => {
  const names = ['a', 'b', 'alone', 'well', 'hung', 'slow'] as const;
  const started = await Promise.all(names.map(startTarget));
  for (const target of started) cleanUp.defer(() => target.stop());
  targets = Object.fromEntries(started.map((target) => [target.name, target])) as typeof targets;
  targets.slow.respond((_request, response) => void setTimeout(() => response.end('slow'), 50));
  const url = (name: Name) => `["${targets[name].url}"]`;
  const numbered = await Promise.all(
    Array.from({ length: UPSTREAMS }, (_, at) => startNamedServer(`u${at}`)),
  );
  gateway = await startGateway(`
upstreams:
  pair: { targets: ["${targets.a.url}", "${targets.b.url}"] }
  alone: { targets: ${url('alone')} }
  well: { targets: ${url('well')} }
  hung: { targets: ${url('hung')}, maxConnections: 8, queue: { size: 8, wait: 500ms } }
  slow: { targets: ${url('slow')}, maxConnections: ${CAPACITY}, queue: { size: 5, wait: 1s } }
${numbered.map((each, at) => `  u${at}: { targets: ["${each}"] }`).join('\n')}
routes:
${['pair', 'alone', 'well', 'hung', 'slow'].map((name) => `  - { path: /${name}/**, upstream: ${name}, access: public }`).join('\n')}
${Array.from({ length: ROUTES }, (_, at) => `  - { path: /r${at}/**, upstream: u${at % UPSTREAMS}, access: public }`).join('\n')}
`);
}, 120_000);
afterAll(() => cleanUp.disposeAsync());

async function startGateway(config: string): Promise<GatewayProcess> {
  const around: Surroundings = await startSurroundings({ stores: 'sqlite', config, logLevel: 'error' });
  cleanUp.defer(() => around.close());
  const started = await startGatewayProcess(around);
  cleanUp.defer(async () => void (await started.end()));
  return started;
}

const load = (path: string, perSecond: number, { url } = gateway) =>
  startLoad({ gateways: [url], perSecond, path, nextCookie: () => 'a=b' });

const failed = (samples: readonly Sample[]) => samples.filter(({ status }) => status !== 200);
const between = (samples: readonly Sample[], from: number, until = Number.POSITIVE_INFINITY) =>
  samples.filter(({ sentAt }) => sentAt >= from && sentAt < until);

/** Other work on the machine shows in the longest times first: with few samples they tell little. */
function expectUnaffected(before: readonly Sample[], meanwhile: readonly Sample[]): void {
  expect(failed(meanwhile)).toEqual([]);
  const [p99, base] = [percentile(meanwhile, 0.99), percentile(before, 0.99)];
  if (isFullRun) expect(p99).toBeLessThanOrEqual(Math.max(1.2 * base, base + 10));
  else expect(percentile(meanwhile, 0.5)).toBeLessThanOrEqual(10 * percentile(before, 0.5) + 100);
}

test('an upstream that is killed and comes back does not disturb another', UNHURRIED, async (context) => {
  const rate = scale({ quick: 60, full: 300 });
  const phaseMs = scale({ quick: 1500, full: 10_000 });
  const { a, alone } = targets;
  const loads = [
    load('/pair/x', rate),
    load('/alone/x', rate),
    load('/well/x', scale({ quick: 60, full: 100 })),
  ] as const;
  await sleep(phaseMs / 2);
  const from = performance.now();
  await sleep(phaseMs);
  const killedAt = performance.now();
  await Promise.all([a.stop(), alone.stop()]);
  await sleep(phaseMs);
  await Promise.all([a.start(), alone.start()]);
  const backAt = performance.now();
  await sleep(phaseMs);
  const [ofPair, ofAlone, ofWell] = await Promise.all(loads.map((each) => each.stop()));
  const before = between(ofWell as Sample[], from, killedAt);
  const meanwhile = between(ofWell as Sample[], killedAt);
  const lastFailure = Math.max(backAt, ...failed(ofAlone as Sample[]).map(({ sentAt }) => sentAt));
  report(context, {
    'requests/s to the killed one': rate,
    'healthy one p99 before, ms': percentile(before, 0.99),
    'healthy one p99 meanwhile, ms': percentile(meanwhile, 0.99),
    'failed of the healthy one': failed(meanwhile).length,
    'failed with a second target': failed(ofPair as Sample[]).length,
    'sent with a second target': (ofPair as Sample[]).length,
    'recovery, ms': Math.round(lastFailure - backAt),
  });
  expect(failed(ofPair as Sample[])).toEqual([]);
  expect(failed(between(ofAlone as Sample[], killedAt, backAt)).length).toBeGreaterThan(0);
  expect(lastFailure - backAt).toBeLessThan(1000);
  expectUnaffected(before, meanwhile);
});

test('an upstream that hangs, its queue full, does not disturb another', UNHURRIED, async (context) => {
  const phaseMs = scale({ quick: 1500, full: 10_000 });
  const { hung } = targets;
  const ofWell = load('/well/x', 60);
  await sleep(phaseMs / 2);
  const from = performance.now();
  await sleep(phaseMs);
  const hungAt = performance.now();
  hung.respond(() => {});
  const ofHung = load('/hung/x', scale({ quick: 60, full: 300 }));
  await sleep(phaseMs);
  const samples = await ofWell.stop();
  const before = between(samples, from, hungAt);
  const meanwhile = between(samples, hungAt);
  // What waits for it ends with it.
  await hung.stop();
  const refused = (await ofHung.stop()).filter(({ status }) => status === 503);
  report(context, {
    'p99 before, ms': percentile(before, 0.99),
    'p99 meanwhile, ms': percentile(meanwhile, 0.99),
    'failed of the other': failed(meanwhile).length,
    'refused of the hung one': refused.length,
    'p50 of a refusal, ms': percentile(refused, 0.5),
  });
  expect(refused.length).toBeGreaterThan(10);
  expect(refused.every(({ code, hasRetryAfter }) => code === 'upstream-unavailable' && hasRetryAfter)).toBe(
    true,
  );
  expectUnaffected(before, meanwhile);
});

async function expectGoodput(
  context: Pick<TestContext, 'task'>,
  { at, path, code }: { at: GatewayProcess; path: string; code: string },
): Promise<void> {
  const runMs = scale({ quick: 2000, full: 20_000 });
  const capacity = await capacityOf(`${at.url}${path}`, runMs);
  const offered = load(path, 2 * capacity, at);
  const startedAt = performance.now();
  await sleep(runMs);
  const endedAt = performance.now();
  const samples = between(await offered.stop(), startedAt, endedAt);
  const refused = samples.filter(({ status }) => status === 503);
  const seconds = (endedAt - startedAt) / 1000;
  const goodput = (samples.length - refused.length) / seconds;
  report(context, {
    'capacity, requests/s': Math.round(capacity),
    'offered, requests/s': Math.round(samples.length / seconds),
    'goodput, % of capacity': Math.round((100 * goodput) / capacity),
    refused: refused.length,
    'p50 of a refusal, ms': percentile(refused, 0.5),
    'p99 of a refusal, ms': percentile(refused, 0.99),
  });
  expect(failed(samples).filter((each) => each.code !== code)).toEqual([]);
  expect(refused.every(({ hasRetryAfter }) => hasRetryAfter)).toBe(true);
  // A busy machine is late with everything, and not always as busy.
  expect(goodput).toBeGreaterThanOrEqual(scale({ quick: 0.5, full: 0.8 }) * capacity);
  if (isFullRun) expect(percentile(refused, 0.5)).toBeLessThanOrEqual(10);
}

test('twice the capacity of an upstream: most of it is used, the rest is refused', UNHURRIED, (context) =>
  expectGoodput(context, { at: gateway, path: '/slow/x', code: 'upstream-unavailable' }),
);

test(
  'twice the capacity of the gateway: most of it is used, the rest is refused',
  UNHURRIED,
  async (context) => {
    const at = await startGateway(`
upstreams: { slow: { targets: ["${targets.slow.url}"] } }
routes: [{ path: /**, upstream: slow, access: public }]
server: { maxRequests: ${CAPACITY} }
`);
    await expectGoodput(context, { at, path: '/x', code: 'overloaded' });
  },
);

/** Answers a second that as many clients get as there may be requests, each asking on and on. */
async function capacityOf(url: string, ms: number): Promise<number> {
  const until = performance.now() + ms;
  let answered = 0;
  const askOnAndOn = async () => {
    while (performance.now() < until) {
      const answer = await fetch(url);
      await answer.text();
      if (answer.ok) answered++;
    }
  };
  await Promise.all(Array.from({ length: CAPACITY }, askOnAndOn));
  return answered / (ms / 1000);
}

test('a closed loop of 64 connections is no overload', UNHURRIED, async (context) => {
  const until = performance.now() + scale({ quick: 1500, full: 20_000 });
  const counts: Record<number, number> = {};
  const askOnAndOn = async () => {
    while (performance.now() < until) {
      const { status } = await send(`${gateway.url}/well/x`);
      counts[status] = (counts[status] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: 64 }, askOnAndOn));
  report(context, { answered: counts[200] ?? 0 });
  expect(Object.keys(counts)).toEqual(['200']);
});

test('everybody gets their own answer, whatever the route and upstream', UNHURRIED, async (context) => {
  const clients = scale({ quick: 400, full: 10_000 });
  const open = scale({ quick: 100, full: 1000 });
  await send(`${gateway.url}/r0/warm`);
  const before = descriptors(gateway);
  let [mixedUp, failures, most, next] = [0, 0, 0, 0];
  const askOnAndOn = async () => {
    for (let at = next++; at < clients; at = next++) {
      const route = (at * 7) % ROUTES;
      const path = `/r${route}/${at}-${Math.random()}`;
      const answer = await send(`${gateway.url}${path}`, { headers: { 'x-client': `client ${at}` } });
      const text = await answer.text();
      if (answer.status !== 200) failures++;
      else if (text !== `u${route % UPSTREAMS} ${path} client ${at}`) mixedUp++;
      if (at % 50 === 0) most = Math.max(most, descriptors(gateway));
    }
  };
  await Promise.all(Array.from({ length: open }, askOnAndOn));
  await expect.poll(() => descriptors(gateway), { timeout: 30_000 }).toBeLessThan(before + 20);
  report(context, {
    clients,
    routes: ROUTES,
    upstreams: UPSTREAMS,
    failures,
    mixedUp,
    'descriptors before': before,
    'at most': most,
  });
  expect([failures, mixedUp]).toEqual([0, 0]);
  // One for each client, one for each of their requests, and some that are idle or being closed.
  expect(most).toBeLessThan(before + 3 * open);
});

/** Answers with its name, and with what it was asked by whom, after a moment. */
async function startNamedServer(name: string): Promise<string> {
  const server = createServer((request, response) => {
    const text = `${name} ${request.url} ${request.headers['x-client']}`;
    setTimeout(() => response.end(text), Math.random() * 20);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUp.defer(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function descriptors({ pid }: GatewayProcess): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
