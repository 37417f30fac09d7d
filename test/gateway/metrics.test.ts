// What /metrics tells of requests, decisions and lookups.
import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClient, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { requestText, sendBytes } from '../support/raw-socket.ts';

const CONFIG = `
upstreams:
  hub: { targets: ["\${UPSTREAM}"], githubToken: forwarded }
routes:
  - { path: /public/**, upstream: hub, access: public }
  - { path: /admin/**, upstream: hub, access: { roles: [admin] } }
  - { path: /trial/**, upstream: hub, access: { roles: [admin] }, reportOnly: true }
  - { path: /api/**, upstream: hub }
`;

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ stores: 'sqlite', config: CONFIG });
});
afterAll(() => gateway.close());

type Samples = Map<string, number>;

const samples = async (): Promise<Samples> => {
  const text = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
};
const inFlight = async () => (await samples()).get('gateway_requests_in_flight');
const quiet = () => expect.poll(inFlight, { interval: 10 }).toBe(0);
/** How much each of these samples has grown by, once they have grown at all: a request counts when it is over. */
const expectGrowth = async (before: Samples, growth: Record<string, number>) => {
  const grown = async () => {
    const now = await samples();
    return Object.fromEntries(
      Object.keys(growth).map((name) => [name, (now.get(name) ?? 0) - (before.get(name) ?? 0)]),
    );
  };
  await expect.poll(grown, { interval: 10 }).toEqual(growth);
};
const requests = (route: string, method: string, code: string) =>
  `gateway_requests_total{route="${route}",method="${method}",code="${code}"}`;
const decisions = (route: string, decision: string, reason: string) =>
  `gateway_decisions_total{route="${route}",decision="${decision}",reason="${reason}"}`;
const lookups = (tier: string, result: string) =>
  `gateway_session_lookups_total{tier="${tier}",result="${result}"}`;

test('requests, decisions and lookups are counted by route, method, code, reason and tier', async () => {
  const { client } = await signInWithGitHub(gateway, 'octocat');
  const anonymous = createClient(gateway.url);
  await quiet();
  const before = await samples();
  for (const path of ['/api/a', '/api/b?q=1', '/api/c']) expect((await client.fetch(path)).status).toBe(200);
  expect((await client.fetch('/api/x', { method: 'POST', body: 'x' })).status).toBe(200);
  expect((await anonymous.fetch('/api/x')).status).toBe(401);
  expect((await anonymous.fetch('/public/x')).status).toBe(200);
  expect((await client.fetch('/admin/x')).status).toBe(403);
  expect((await client.fetch('/trial/x')).status).toBe(200);
  expect((await anonymous.fetch('/trial/x')).status).toBe(200);
  expect((await client.fetch('/nowhere/x')).status).toBe(404);
  expect((await client.fetch('/api/user-scopes')).status).toBe(200);
  await expectGrowth(before, {
    [requests('/api/**', 'GET', '200')]: 3,
    [requests('/api/**', 'POST', '200')]: 1,
    [requests('/api/**', 'GET', '401')]: 1,
    [requests('/public/**', 'GET', '200')]: 1,
    [requests('/admin/**', 'GET', '403')]: 1,
    [requests('/trial/**', 'GET', '200')]: 2,
    [requests('none', 'GET', '404')]: 1,
    [requests('/api/user-scopes', 'GET', '200')]: 1,
    [decisions('/api/**', 'allow', '')]: 4,
    [decisions('/api/**', 'deny', 'no-session-cookie')]: 1,
    [decisions('/public/**', 'allow', '')]: 1,
    [decisions('/admin/**', 'deny', 'role-missing')]: 1,
    [decisions('/trial/**', 'report', 'role-missing')]: 1,
    [decisions('/trial/**', 'report', 'no-session-cookie')]: 1,
    [lookups('store', 'found')]: 1,
    [lookups('local', 'found')]: 6,
    [lookups('cookie', 'none')]: 2,
    'gateway_request_duration_seconds_count{route="/api/**"}': 5,
    'gateway_request_duration_seconds_bucket{route="/api/**",le="+Inf"}': 5,
  });
});

test('a request is in flight until its answer is over', async () => {
  const { client } = await signInWithGitHub(gateway, 'octocat');
  await quiet();
  let answer: ServerResponse | undefined;
  gateway.upstream.respond((_request, response) => {
    answer = response;
    response.write('begun');
  });
  const response = await client.fetch('/api/slow');
  gateway.upstream.respond(undefined);
  expect(await inFlight()).toBe(1);
  answer?.end();
  expect(await response.text()).toBe('begun');
  await quiet();
});

test('nothing a client makes up becomes a label', async () => {
  await quiet();
  const before = await samples();
  for (let at = 0; at < 20; at++) {
    await sendBytes(gateway.url, requestText(`/made-up-${at}`, [], 'PURGE'));
    await sendBytes(gateway.url, requestText(`/api/made-up-${at}`, [`X-Request-Id: made-up-${at}`]));
    await sendBytes(gateway.url, requestText(`/made-up%2f${at}`));
    await sendBytes(gateway.url, requestText(`/api/%zz${at}`));
  }
  await expectGrowth(before, {
    [requests('none', 'other', '404')]: 20,
    [requests('/api/**', 'GET', '401')]: 20,
    [requests('none', 'GET', '400')]: 40,
  });
  const grown = [...(await samples()).keys()].filter((name) => !before.has(name));
  expect(grown.filter((name) => /made|PURGE|zz/.test(name))).toEqual([]);
});
