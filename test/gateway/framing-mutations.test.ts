// Thousands of requests that two servers might read in two ways, in front of an upstream that takes HTTP by the letter:
// nothing of one request becomes another, and nobody gets another's answer.
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { report } from '../support/figures.ts';
import { framingMutations } from '../support/framing-mutations.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { manyAtOnce } from '../support/many.ts';
import { mutated, SEEDS } from '../support/mutated-requests.ts';
import { randomFrom, sample } from '../support/random.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { type StrictUpstream, startStrictUpstream } from '../support/strict-upstream.ts';

const SEED = 20_300_115;
const AT_ONCE = 64;
/** Ends the connection, where what is before it has an end. */
const LAST = 'GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
let gateway: TestGateway;
let upstream: StrictUpstream;

beforeAll(async () => {
  upstream = await startStrictUpstream();
  gateway = await startTestGateway({
    stores: 'sqlite',
    logLevel: 'error',
    config: `
upstreams: { strict: { targets: ["${upstream.url}"], timeouts: { headers: 5s } } }
routes:
  - { path: /**, upstream: strict, access: public }
  - { path: /private/**, upstream: strict, access: session }
`,
  });
});
afterAll(async () => {
  await gateway?.close();
  await upstream?.close();
});

interface Outcome {
  readonly statuses: readonly number[];
  readonly text: string;
}

/** Sends the bytes and reads until the other side closes; after so long a silence it is told that no more will come. */
async function exchange(bytes: string, silenceMs = 10_000): Promise<Outcome> {
  const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
  let text = '';
  socket.setTimeout(silenceMs, () => socket.end());
  socket
    .on('error', () => {})
    .on('data', (data) => {
      text += data.toString('latin1');
    });
  socket.write(bytes, 'latin1');
  await new Promise((resolve) => socket.once('close', resolve));
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  return { statuses: statuses.filter((status) => status !== 100), text };
}

/** Runs of the answers in this text other than the one that asked. */
function foreignRuns(text: string, run: string): string[] {
  return [...text.matchAll(/"run":"(\d+)"/g)].flatMap(([, each = '']) => (each === run ? [] : [each]));
}

test(
  'a request that can be read in two ways smuggles nothing, and nothing behind it is out of step',
  UNHURRIED,
  async (context) => {
    const all = framingMutations();
    expect(all.length).toBeGreaterThanOrEqual(2000);
    const tried = sample(all, scale({ quick: 300, full: all.length }), randomFrom(SEED));
    const [seenBefore, violationsBefore] = [upstream.seen.length, upstream.violations.length];
    const faults: string[] = [];
    let desynchronised = 0;
    await manyAtOnce(tried, AT_ONCE, async ({ text, mustBeRefused }, at) => {
      const run = String(1_000_000 + at);
      const own = `GET /own-${run} HTTP/1.1\r\nHost: a\r\nX-Run: ${run}\r\nConnection: close\r\n\r\n`;
      const answer = await exchange(text.replace('@RUN@', run) + own);
      const isRefused = answer.statuses.join() === '400' || answer.statuses.join() === '431';
      const isPassed = answer.statuses.join() === '200,200' && answer.text.includes(`"target":"/own-${run}"`);
      if (foreignRuns(answer.text, run).length > 0) desynchronised++;
      else if (!(mustBeRefused ? isRefused : isRefused || isPassed))
        faults.push(`${JSON.stringify(text.slice(0, 300))} → ${answer.statuses}`);
      if (isRefused && !/\r\nconnection: close\r\n/i.test(answer.text))
        faults.push(`${text.slice(0, 300)}: not closed`);
    });
    const seen = upstream.seen.slice(seenBefore);
    const smuggled = seen.filter(
      ({ target, body }) => target === '/smuggled' || body.includes('/own-'),
    ).length;
    report(context, {
      'framing mutations: tried': tried.length,
      'framing mutations: smuggled': smuggled,
      'framing mutations: desynchronised': desynchronised,
    });
    expect(faults).toEqual([]);
    expect([smuggled, desynchronised]).toEqual([0, 0]);
    expect(upstream.violations.slice(violationsBefore)).toEqual([]);
    upstream.seen.length = 0;
  },
);

test(
  'no change of a few bytes in a request ends the process, breaks the wire or mixes answers',
  UNHURRIED,
  async (context) => {
    const runs = scale({ quick: 500, full: 100_000 });
    const random = randomFrom(SEED + 1);
    const statuses = new Map<number, number>();
    const [violationsBefore, faults] = [upstream.violations.length, [] as string[]];
    let mixed = 0;
    await manyAtOnce(Array.from({ length: runs }), AT_ONCE, async (_none, at) => {
      const run = String(2_000_000 + at);
      const text = mutated(at, random).replaceAll('@RUN@', run);
      const answer = await exchange(text + LAST, 400);
      if (foreignRuns(answer.text, run).some((each) => /^2\d{6}$/.test(each))) mixed++;
      if (answer.text !== '' && !answer.text.startsWith('HTTP/1.1 '))
        faults.push(JSON.stringify(answer.text.slice(0, 200)));
      for (const status of answer.statuses) {
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status < 200 || (status >= 300 && status < 400) || status === 500 || status > 504)
          faults.push(`${status} for ${JSON.stringify(text)}`);
      }
      upstream.seen.length = 0;
    });
    expect((await exchange(LAST)).statuses).toEqual([200]);
    report(context, {
      seeds: SEEDS.length,
      'requests with flipped bytes: tried': runs,
      'requests with flipped bytes: crashes': faults.length,
      'requests with flipped bytes: mixed': mixed,
      ...Object.fromEntries([...statuses].map(([status, count]) => [`answers${status}`, count])),
    });
    expect(SEEDS.length).toBeGreaterThanOrEqual(20);
    expect(faults.slice(0, 10)).toEqual([]);
    expect(mixed).toBe(0);
    expect(upstream.violations.slice(violationsBefore)).toEqual([]);
  },
);
