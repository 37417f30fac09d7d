// Whoever reads slowly is waited for: what they have not read stays with whoever sends it, not with the gateway. Whoever
// does not read at all is cut.
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { UpstreamReport } from '../../src/forwarding/upstream-report.ts';
import { report } from '../support/figures.ts';
import { type Surroundings, startSurroundings } from '../support/gateway.ts';
import { type GatewayProcess, startGatewayProcess } from '../support/gateway-process.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { send } from '../support/send.ts';

const MIB = 1024 * 1024;
const CHUNK = Buffer.alloc(256 * 1024, 'x');
const SIZE_MIB = scale({ quick: 40, full: 300 });
const MOST_GROWTH_MIB = 32;
const IDLE_MS = 1500;

let around: Surroundings;
let gateway: GatewayProcess;
beforeAll(async () => {
  around = await startSurroundings({
    stores: 'sqlite',
    logLevel: 'warn',
    config: `
upstreams:
  plain: { targets: ["\${UPSTREAM}"] }
  narrow: { targets: ["\${UPSTREAM}"], maxConnections: 2, queue: { size: 0, wait: 1s }, timeouts: { idle: ${IDLE_MS}ms } }
routes:
  - { path: /narrow/**, upstream: narrow, access: public }
  - { path: /**, upstream: plain, access: public }
`,
  });
  gateway = await startGatewayProcess(around);
  // What the process needs for itself, it has after some exchanges.
  for (let round = 0; round < 3; round++) await Promise.all([down(30), up(30)]);
});
afterAll(async () => {
  await gateway?.end();
  await around?.close();
});

async function pour(to: NodeJS.WritableStream, mib: number): Promise<void> {
  for (let left = (mib * MIB) / CHUNK.length; left > 0; left--) if (!to.write(CHUNK)) await once(to, 'drain');
  to.end();
}

/** So many bytes, then a rest. */
async function readSlowly(from: Readable, { bytes, rest } = { bytes: MIB, rest: 5 }): Promise<number> {
  let length = 0;
  let due = bytes;
  for await (const part of from) {
    length += (part as Buffer).length;
    if (length < due) continue;
    due += bytes;
    await sleep(rest);
  }
  return length;
}

async function down(mib: number): Promise<number> {
  around.upstream.respond((request, response) => {
    if (request.url === '/up') readSlowly(request).then((length) => response.end(String(length)));
    else pour(response, mib);
  });
  const request = httpRequest(`${gateway.url}/down`, { agent: false }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return readSlowly(response);
}

async function up(mib: number): Promise<number> {
  around.upstream.respond((request, response) => {
    if (request.url === '/up') readSlowly(request).then((length) => response.end(String(length)));
    else pour(response, mib);
  });
  const request = httpRequest(`${gateway.url}/up`, { method: 'POST', agent: false });
  const answering = once(request, 'response') as Promise<[IncomingMessage]>;
  await pour(request, mib);
  const [response] = await answering;
  return Number(Buffer.concat(await response.toArray()));
}

test.for([
  ['a slow client downloads', down],
  ['is uploaded to a slow upstream', up],
] as const)('what %s is not kept in memory', UNHURRIED, async ([, transfer], context) => {
  const start = gateway.memoryMiB();
  let highest = start;
  const watch = setInterval(() => {
    highest = Math.max(highest, gateway.memoryMiB());
  }, 20);
  const length = await transfer(SIZE_MIB).finally(() => clearInterval(watch));
  expect(length).toBe(SIZE_MIB * MIB);
  const grownMiB = Math.round(highest - start);
  report(context, { sizeMiB: SIZE_MIB, grownMiB });
  expect(grownMiB).toBeLessThanOrEqual(MOST_GROWTH_MIB);
});

/** The head of an answer of this length; none of its body has been read. */
async function begin(mib: number): Promise<IncomingMessage> {
  around.upstream.respond((request, response) => {
    if (request.url === '/narrow/large') pour(response, mib).catch(() => {});
    else response.end('ok');
  });
  const request = httpRequest(`${gateway.url}/narrow/large`, { agent: false }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response;
}

async function placesTaken(): Promise<number | undefined> {
  const answer = await fetch(`${gateway.adminUrl}/upstreams`);
  const { upstreams } = (await answer.json()) as { upstreams: UpstreamReport[] };
  return upstreams.find(({ name }) => name === 'narrow')?.targets[0]?.inFlight;
}

test('clients that do not read are cut after a while, and others have their places', UNHURRIED, async () => {
  const unread = await Promise.all([begin(64), begin(64)]);
  await expect.poll(placesTaken, { timeout: 20_000 }).toBe(0);
  expect((await send(`${gateway.url}/narrow/x`)).status).toBe(200);
  for (const response of unread) await expect(response.toArray()).rejects.toThrow('aborted');
});

test('a client that reads now and then, for longer than a while, gets all of it', UNHURRIED, async () => {
  const beganAt = performance.now();
  const length = await readSlowly(await begin(40), { bytes: 4 * MIB, rest: IDLE_MS / 5 });
  expect(length).toBe(40 * MIB);
  expect(performance.now() - beganAt).toBeGreaterThan(1.5 * IDLE_MS);
});
