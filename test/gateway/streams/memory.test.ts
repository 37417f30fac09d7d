// What a slow reader does not take stays with its sender: measured on a process of its own.
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { report } from '../../support/figures.ts';
import { type Surroundings, startSurroundings } from '../../support/gateway.ts';
import { type GatewayProcess, startGatewayProcess } from '../../support/gateway-process.ts';
import { scale, UNHURRIED } from '../../support/scale.ts';
import { acceptance, handshakeText, openBare } from '../../support/streams.ts';

const MIB = 1024 * 1024;
const SIZE_MIB = scale({ quick: 40, full: 300 });
/** So fast the reader reads. */
const MIB_PER_SECOND = scale({ quick: 20, full: 10 });
const MOST_GROWTH_MIB = 32;

let around: Surroundings;
let gateway: GatewayProcess;
beforeAll(async () => {
  const config = `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes: [{ path: /**, upstream: hub, access: public }]
`;
  around = await startSurroundings({ stores: 'sqlite', config, logLevel: 'warn' });
  gateway = await startGatewayProcess(around);
  // What the process needs for itself, garbage included, it has after some hundred megabytes.
  for (const direction of ['up', 'down'] as const) await pour(direction, 100, Number.POSITIVE_INFINITY);
});
afterAll(async () => {
  await gateway?.end();
  await around?.close();
});

test.for(['up', 'down'] as const)(
  'much through a WebSocket %s to a slow reader needs little memory',
  UNHURRIED,
  async (direction, context) => {
    const start = gateway.memoryMiB();
    let highest = start;
    const watch = setInterval(() => {
      highest = Math.max(highest, gateway.memoryMiB());
    }, 20);
    const read = await pour(direction, SIZE_MIB, MIB_PER_SECOND);
    clearInterval(watch);
    report(context, {
      megabytes: SIZE_MIB,
      readerMegabytesPerSecond: MIB_PER_SECOND,
      startMiB: Math.round(start),
      growthMiB: Number((highest - start).toFixed(1)),
    });
    expect(read).toBe(SIZE_MIB * MIB);
    expect(highest - start).toBeLessThanOrEqual(MOST_GROWTH_MIB);
  },
);

/** @returns how many bytes arrived */
async function pour(
  direction: 'up' | 'down',
  megabytes: number,
  megabytesPerSecond: number,
): Promise<number> {
  const accepted = Promise.withResolvers<Duplex>();
  around.upstream.upgrade((request, socket) => {
    socket.write(acceptance(request));
    accepted.resolve(socket);
  });
  const { socket } = await openBare(gateway.url, handshakeText('/x'));
  const upstream = await accepted.promise;
  const [from, to] = direction === 'up' ? [socket, upstream] : [upstream, socket];
  for (const side of [from, to]) side.on('error', () => {});
  const reading = readSlowly(to, megabytes * MIB, megabytesPerSecond);
  // Frames of a megabyte, less their heads.
  const frame = Buffer.alloc(MIB, 0x2a);
  frame.set([0x82, 0x7f, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xf6]);
  for (let sent = 0; sent < megabytes; sent++) if (!from.write(frame)) await once(from, 'drain');
  const read = await reading;
  from.destroy();
  to.destroy();
  return read;
}

async function readSlowly(from: Duplex, bytes: number, megabytesPerSecond: number): Promise<number> {
  const startedAt = performance.now();
  let read = 0;
  for await (const chunk of from.iterator({ destroyOnReturn: false })) {
    read += chunk.length;
    const due = startedAt + (read / MIB / megabytesPerSecond) * 1000;
    const early = due - performance.now();
    if (early > 20) await sleep(early);
    if (read >= bytes) break;
  }
  return read;
}
