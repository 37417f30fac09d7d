// Several targets, and what becomes of requests when some of them are not well.
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterEach, expect, onTestFinished, test } from 'vitest';
import type { UpstreamReport } from '../../src/forwarding/upstream-report.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { send } from '../support/send.ts';
import { startTarget, type TestTarget } from '../support/target.ts';

let opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of opened.reverse()) await each.close();
  opened = [];
});

/** A gateway in front of targets of these names; the settings are of their one upstream. */
async function start(names: readonly string[], settings = '') {
  const targets = await Promise.all(names.map(startTarget));
  for (const target of targets) opened.push({ close: () => target.stop() });
  const urls = targets.map(({ url }) => `"${url}"`).join(', ');
  const gateway = await startTestGateway({
    stores: 'sqlite',
    config: `
upstreams: { hub: { targets: [${urls}]${settings && `, ${settings}`} } }
routes: [{ path: /**, upstream: hub, access: public }]
`,
  });
  opened.push(gateway);
  return { gateway, targets: targets as [TestTarget, ...TestTarget[]] };
}

async function reportOf({ adminUrl }: TestGateway): Promise<UpstreamReport> {
  const { upstreams } = (await (await fetch(`${adminUrl}/upstreams`)).json()) as {
    upstreams: UpstreamReport[];
  };
  return upstreams[0] as UpstreamReport;
}

const statesOf = async (gateway: TestGateway) => (await reportOf(gateway)).targets.map(({ state }) => state);

/** What the log said of targets. */
const told = (gateway: TestGateway) =>
  gateway
    .logLines()
    .map((line) => JSON.parse(line))
    .filter(({ msg }) => String(msg).startsWith('target is'))
    .map(({ target, state }) => [target, state]);

/** An answer that is not given yet. */
function hold(target: TestTarget, path: string): { finish(): void; readonly count: number } {
  const held: ServerResponse[] = [];
  target.respond((request, response) => {
    if (request.url === path) held.push(response);
    else request.resume().once('end', () => response.end(target.name));
  });
  return {
    finish: () => {
      target.respond(undefined);
      for (const response of held.splice(0)) response.end(target.name);
    },
    get count() {
      return held.length;
    },
  };
}

const text = async (answer: Promise<Response>) => (await answer).text();

async function answers(gateway: TestGateway, count: number, path = '/x'): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let sent = 0; sent < count; sent++) {
    const answer = await text(send(`${gateway.url}${path}`));
    counts[answer] = (counts[answer] ?? 0) + 1;
  }
  return counts;
}

test('the target with the fewest requests under way is asked, of equals each in turn', async () => {
  const { gateway, targets } = await start(['a', 'b']);
  const held = hold(targets[0], '/held');
  expect(await answers(gateway, 6)).toEqual({ a: 3, b: 3 });
  const waiting = [text(send(`${gateway.url}/held`)), text(send(`${gateway.url}/held`))];
  await expect.poll(() => held.count).toBe(1);
  expect(await answers(gateway, 6)).toEqual({ b: 6 });
  held.finish();
  expect((await Promise.all(waiting)).sort()).toEqual(['a', 'b']);
});

test.each(['GET', 'POST'])(
  'a %s that cannot connect is answered by another target; who fails again and again is ejected, tried, and back',
  async (method) => {
    const { gateway, targets } = await start(
      ['a', 'b'],
      'ejection: { failures: 3, time: 300ms }, slowStart: off',
    );
    const [a] = targets;
    await a.stop();
    const body = method === 'POST' ? 'once' : undefined;
    for (let sent = 0; sent < 10; sent++) {
      const answer = await send(`${gateway.url}/x`, { method, body });
      expect([answer.status, await answer.text()]).toEqual([200, 'b']);
    }
    expect(await statesOf(gateway)).toEqual([expect.stringMatching(/ejected|trial/), 'up']);
    expect(told(gateway)).toEqual([[a.url, 'ejected']]);
    await a.start();
    await expect.poll(() => answers(gateway, 4), { timeout: 10_000 }).toEqual({ a: 2, b: 2 });
    expect(await statesOf(gateway)).toEqual(['up', 'up']);
    expect(told(gateway)).toEqual([
      [a.url, 'ejected'],
      [a.url, 'up'],
    ]);
    expect(targets[1]?.seen.length).toBeGreaterThanOrEqual(10);
  },
);

test('the only target is never ejected: it is asked at once when it is back', async () => {
  const { gateway, targets } = await start(['a'], 'ejection: { failures: 1, time: 1h, maxTime: 1h }');
  await targets[0].stop();
  for (let sent = 0; sent < 5; sent++) {
    const refused = await send(`${gateway.url}/x`);
    expect([refused.status, (await refused.json()).code]).toEqual([502, 'upstream-unreachable']);
  }
  expect(await statesOf(gateway)).toEqual(['up']);
  await targets[0].start();
  expect(await answers(gateway, 3)).toEqual({ a: 3 });
  expect(told(gateway)).toEqual([]);
});

test('where every target was away, the one that is back is found at once', async () => {
  const { gateway, targets } = await start(['a', 'b'], 'ejection: { failures: 1, time: 1h, maxTime: 1h }');
  for (const target of targets) await target.stop();
  for (let sent = 0; sent < 4; sent++) expect((await send(`${gateway.url}/x`)).status).toBe(502);
  expect((await statesOf(gateway)).sort()).toEqual(['ejected', 'up']);
  const ejected = (await reportOf(gateway)).targets.findIndex(({ state }) => state === 'ejected');
  await targets[ejected]?.start();
  expect((await send(`${gateway.url}/x`)).status).toBe(200);
  expect(await statesOf(gateway)).toEqual(expect.not.arrayContaining(['ejected']));
});

test('answers are no failures, whatever their status', async () => {
  const { gateway, targets } = await start(['a', 'b'], 'ejection: { failures: 1 }');
  targets[0].respond((_request, response) => response.writeHead(503).end('a'));
  expect(await answers(gateway, 10)).toEqual({ a: 5, b: 5 });
  expect(await statesOf(gateway)).toEqual(['up', 'up']);
});

test('a target that does not answer in time is ejected; the one beside it goes on', async () => {
  const { gateway, targets } = await start(
    ['a', 'b'],
    'timeouts: { headers: 1s }, ejection: { failures: 2, time: 1h, maxTime: 1h }',
  );
  targets[0].respond(() => {});
  const statuses = await Promise.all([1, 2, 3, 4].map(async () => (await send(`${gateway.url}/x`)).status));
  expect(statuses.sort()).toEqual([200, 200, 504, 504]);
  expect(await statesOf(gateway)).toEqual(['ejected', 'up']);
  expect(await answers(gateway, 5)).toEqual({ b: 5 });
});

test('a target whose checks fail is out of turn until they pass again; without any it is 503 at once', async () => {
  const { gateway, targets } = await start(
    ['a', 'b'],
    'health: { path: /healthz, interval: 30ms, healthy: 2, unhealthy: 3 }, slowStart: off',
  );
  const fail = (target: TestTarget) =>
    target.respond((request, response) => {
      response.writeHead(request.url === '/healthz' ? 500 : 200).end(target.name);
    });
  fail(targets[0]);
  await expect.poll(() => statesOf(gateway)).toEqual(['unhealthy', 'up']);
  expect(await answers(gateway, 4)).toEqual({ b: 4 });
  fail(targets[1] as TestTarget);
  await expect.poll(() => statesOf(gateway)).toEqual(['unhealthy', 'unhealthy']);
  const refused = await send(`${gateway.url}/x`);
  expect([refused.status, (await refused.json()).code]).toEqual([503, 'upstream-unavailable']);
  expect(refused.headers.get('retry-after')).toBe('1');
  targets[0].respond(undefined);
  await expect.poll(() => statesOf(gateway)).toEqual(['up', 'unhealthy']);
  expect(await answers(gateway, 4)).toEqual({ a: 4 });
  const states = told(gateway).map(([, state]) => state);
  expect(states).toEqual(['unhealthy', 'unhealthy', 'up']);
});

test('a target that does not answer its checks in time is out of turn', async () => {
  const { gateway, targets } = await start(
    ['a', 'b'],
    'health: { path: /healthz, interval: 50ms, timeout: 100ms, unhealthy: 2 }',
  );
  targets[0].respond((request, response) => {
    if (request.url !== '/healthz') response.end('a');
  });
  await expect.poll(() => statesOf(gateway)).toEqual(['unhealthy', 'up']);
});

test('beyond the most connections requests wait their turn; beyond the queue, and too long, they are 503', async () => {
  const { gateway, targets } = await start(['a'], 'maxConnections: 2, queue: { size: 2, wait: 1s }');
  const held = hold(targets[0], '/held');
  const under = [send(`${gateway.url}/held`), send(`${gateway.url}/held`)];
  await expect.poll(() => held.count).toBe(2);
  const waiting = [send(`${gateway.url}/first`), send(`${gateway.url}/second`)];
  await expect.poll(async () => (await reportOf(gateway)).waiting).toBe(2);
  const full = await send(`${gateway.url}/x`, { method: 'POST', body: 'x' });
  expect([full.status, (await full.json()).code]).toEqual([503, 'upstream-unavailable']);
  expect(full.headers.get('retry-after')).toBe('1');
  for (const late of await Promise.all(waiting)) expect(late.status).toBe(503);
  const third = send(`${gateway.url}/third`, { method: 'POST', body: 'kept' });
  await expect.poll(async () => (await reportOf(gateway)).waiting).toBe(1);
  held.finish();
  expect((await Promise.all([...under, third])).map(({ status }) => status)).toEqual([200, 200, 200]);
  expect(targets[0].seen).toEqual(['GET /held', 'GET /held', 'POST /third']);
  expect(await reportOf(gateway)).toMatchObject({ waiting: 0, refused: 3, targets: [{ inFlight: 0 }] });
});

test('who leaves the queue leaves its place to others', async () => {
  const { gateway, targets } = await start(['a'], 'maxConnections: 1, queue: { size: 1, wait: 1h }');
  const held = hold(targets[0], '/held');
  const first = send(`${gateway.url}/held`);
  await expect.poll(() => held.count).toBe(1);
  const leaving = httpRequest(`${gateway.url}/left`, { agent: false }).on('error', () => {});
  leaving.end();
  await expect.poll(async () => (await reportOf(gateway)).waiting).toBe(1);
  leaving.destroy();
  await expect.poll(async () => (await reportOf(gateway)).waiting).toBe(0);
  const second = send(`${gateway.url}/second`);
  await expect.poll(async () => (await reportOf(gateway)).waiting).toBe(1);
  held.finish();
  expect([(await first).status, (await second).status]).toEqual([200, 200]);
  expect(targets[0].seen).toEqual(['GET /held', 'GET /second']);
});

test('event streams take no place', async () => {
  const { gateway, targets } = await start(['a'], 'maxConnections: 1, queue: { size: 0, wait: 1s }');
  targets[0].respond((request, response) => {
    if (request.url !== '/events') response.end('a');
    else response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': open\n\n');
  });
  const streams = [1, 2, 3].map(async () => {
    const request = httpRequest(`${gateway.url}/events`, { agent: false }).end();
    onTestFinished(() => void request.destroy());
    const [response] = (await once(
      request.on('error', () => {}),
      'response',
    )) as [IncomingMessage];
    await once(response, 'data');
  });
  for (const stream of streams) await stream;
  expect(await answers(gateway, 3)).toEqual({ a: 3 });
});

test('a slow start: a target that is back gets little at first, and its share in the end', async () => {
  const { gateway, targets } = await start(
    ['a', 'b'],
    'slowStart: 3s, health: { path: /healthz, interval: 30ms, healthy: 1, unhealthy: 1 }',
  );
  targets[0].respond((_request, response) => response.writeHead(500).end('a'));
  await expect.poll(() => statesOf(gateway)).toEqual(['unhealthy', 'up']);
  targets[0].respond(undefined);
  await expect.poll(() => statesOf(gateway), { interval: 5 }).toEqual(['up', 'up']);
  const counts = await answers(gateway, 30);
  expect(counts.b).toBeGreaterThan(18);
  await expect.poll(async () => (await answers(gateway, 20)).a, { timeout: 15_000 }).toBe(10);
});
