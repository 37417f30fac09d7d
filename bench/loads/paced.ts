// So many requests a second, evenly spaced, whether those before were answered or not; latency in microseconds of a
// clock that counts them. An order on stdin, the count on stdout.
import { text } from 'node:stream/consumers';
import { Worker } from 'node:worker_threads';
import { Pool } from 'undici';
import { percentile } from '../statistics.ts';

export interface PacedOrder {
  readonly url: string;
  readonly perSecond: number;
  readonly seconds: number;
  readonly cookie: string;
}

const { url, perSecond, seconds, cookie } = JSON.parse(await text(process.stdin)) as PacedOrder;
const { origin, pathname } = new URL(url);
// Who had a new connection whenever all are busy would measure how they are opened, once anything has been late.
const pool = new Pool(origin, { connections: 64, pipelining: 1 });
const latencies: number[] = [];
let underWay = 0;
let errors = 0;

// Timers count whole milliseconds; a thread of its own can sleep for parts of one.
const PACE = `
  const { parentPort, workerData: { everyMs, count } } = require('node:worker_threads');
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  const startedAt = performance.now();
  for (let sent = 0; sent < count; sent++) {
    const wait = startedAt + sent * everyMs - performance.now();
    if (wait > 0) Atomics.wait(sleeper, 0, 0, wait);
    parentPort.postMessage(null);
  }`;

const pace = new Worker(PACE, {
  eval: true,
  workerData: { everyMs: 1000 / perSecond, count: Math.round(perSecond * seconds) },
});
const startedAt = performance.now();
pace.on('message', send).on('exit', finishWhenAnswered);

function send(): void {
  const sentAt = process.hrtime.bigint();
  underWay++;
  const over = () => {
    underWay--;
    latencies.push(Number(process.hrtime.bigint() - sentAt) / 1e6);
  };
  pool.dispatch(
    { path: pathname, method: 'GET', headers: { cookie } },
    {
      onRequestStart() {},
      onResponseStart(_controller, status) {
        if (status !== 200) errors++;
      },
      onResponseData() {},
      onResponseEnd: over,
      onResponseError() {
        errors++;
        underWay--;
      },
    },
  );
}

function finishWhenAnswered(): void {
  if (underWay > 0) return void setTimeout(finishWhenAnswered, 5);
  const count = {
    requests: latencies.length,
    seconds: (performance.now() - startedAt) / 1000,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    statuses: {},
    errors,
  };
  process.stdout.write(JSON.stringify(count), () => process.exit(0));
}
