// npm run bench [-- --quick]: what does a request cost? CPU per request of the server process leads, because it is
// steadier than throughput on a shared machine; ratios to the floor of the same run are what counts.
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { arch, cpus } from 'node:os';
import { promisify } from 'node:util';
import { type Contender, startContenders } from './contenders.ts';
import { cpuSeconds } from './processes.ts';

const quick = process.argv.includes('--quick');
const ROUNDS = quick ? 3 : 7;
const SECONDS = quick ? 3 : 6;
const FLOOR = 'node:http + undici (floor)';

interface Round {
  cpuMicros: number;
  perSecond: number;
  p50: number;
  p99: number;
}

const results = new Map<string, Round[]>();
const opened = new AsyncDisposableStack();
try {
  const contenders = await startContenders(opened);
  for (const each of contenders) await measure(each, 2);
  // Interleaved, so that a busy minute of the machine hits everyone.
  for (let round = 1; round <= ROUNDS; round++) {
    for (const each of contenders) {
      const measured = await measure(each, SECONDS);
      results.set(each.name, [...(results.get(each.name) ?? []), measured]);
    }
    process.stderr.write(`round ${round} of ${ROUNDS}\n`);
  }
} finally {
  await opened.disposeAsync();
}
const table = markdown();
process.stdout.write(`${table}\n`);
const folder = new URL('results/', import.meta.url);
if (!quick) await writeResults();

async function writeResults(): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(new URL('latest.md', folder), `${table}\n`);
  await writeFile(
    new URL('latest.json', folder),
    `${JSON.stringify({ machine: machine(), results: Object.fromEntries(results) }, null, 2)}\n`,
  );
}

async function measure(
  { name, url, pid, headers, expectedStatus }: Contender,
  seconds: number,
): Promise<Round> {
  const before = cpuSeconds(pid);
  const script = new URL('load.ts', import.meta.url).pathname;
  const args = [script, `${url}/api/x`, String(seconds), JSON.stringify(headers)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const used = cpuSeconds(pid) - before;
  const load = JSON.parse(stdout) as Round & {
    requests: number;
    errors: number;
    statuses: Record<string, unknown>;
  };
  const unexpected = Object.keys(load.statuses).filter((status) => Number(status) !== expectedStatus);
  if (load.errors > 0 || unexpected.length > 0)
    throw new Error(`${name}: ${load.errors} errors, statuses ${unexpected}`);
  return { cpuMicros: (used / load.requests) * 1e6, perSecond: load.perSecond, p50: load.p50, p99: load.p99 };
}

function markdown(): string {
  const floor = median(results.get(FLOOR)?.map((round) => round.cpuMicros) ?? []);
  const rows = [...results].map(([name, rounds]) => {
    const cpu = rounds.map((round) => round.cpuMicros);
    const range = `${Math.round(Math.min(...cpu))}–${Math.round(Math.max(...cpu))}`;
    const middle = median(cpu);
    const perSecond = Math.round(median(rounds.map((round) => round.perSecond)));
    const p99 = median(rounds.map((round) => round.p99));
    return `| ${name} | ${Math.round(middle)} (${range}) | ${(middle / floor).toFixed(2)} | ${perSecond} | ${p99} |`;
  });
  return [
    `${machine()}. 64 connections, 1 KB answer, 1.4 KB of cookies, ${ROUNDS} rounds of ${SECONDS} s, medians.`,
    '',
    '| | CPU per request, µs (min–max) | ratio to the floor | requests/s | p99, ms |',
    '|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}

function machine(): string {
  const [cpu] = cpus();
  return `${new Date().toISOString().slice(0, 10)}, Node ${process.version}, ${cpus().length} cores, ${cpu?.model.trim() ?? arch()}`;
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
