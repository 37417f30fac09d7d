// An open loop of requests: so many a second, whether those before were answered or not, as people come.
import { setInterval as ticks } from 'node:timers/promises';
import { Pool } from 'undici';

export interface LoadOptions {
  /** Origins, in turn. */
  readonly gateways: readonly string[];
  readonly perSecond: number;
  /** The Cookie header of the next request; undefined when there is none left, which ends the load. */
  readonly nextCookie: () => string | undefined;
  readonly path?: string;
}

export interface Sample {
  readonly gateway: string;
  /** `performance.now()` when it was sent. */
  readonly sentAt: number;
  readonly ms: number;
  /** 0 when there was no answer. */
  readonly status: number;
  /** Of a refusal: the code of the problem, or what went wrong on the way. */
  readonly code: string;
  readonly hasRetryAfter: boolean;
  readonly clearsCookies: boolean;
}

export interface Load {
  /** What was answered so far. */
  readonly samples: readonly Sample[];
  /** Sends no more, and waits for what is under way. */
  stop(): Promise<readonly Sample[]>;
}

const TICK_MS = 5;
const ANSWER_LIMIT_MS = 15_000;

export function startLoad({ gateways, perSecond, nextCookie, path = '/api/x' }: LoadOptions): Load {
  const pools = gateways.map((gateway) => openPool(gateway));
  const samples: Sample[] = [];
  const underWay = new Set<Promise<void>>();
  const ending = new AbortController();
  let sent = 0;

  const sendNext = (): boolean => {
    const cookie = nextCookie();
    const pool = pools[sent % pools.length];
    if (cookie === undefined || pool === undefined) return false;
    sent++;
    const answered = ask(pool, path, cookie).then((sample) => void samples.push(sample));
    underWay.add(answered);
    answered.finally(() => underWay.delete(answered));
    return true;
  };

  const run = async () => {
    const startedAt = performance.now();
    for await (const _ of ticks(TICK_MS, undefined, { signal: ending.signal })) {
      const due = ((performance.now() - startedAt) * perSecond) / 1000;
      while (sent < due) if (!sendNext()) return;
    }
  };
  const running = run().catch((error: unknown) => {
    if (!ending.signal.aborted) throw error;
  });

  return {
    samples,
    async stop() {
      ending.abort();
      await running;
      await Promise.all(underWay);
      await Promise.all(pools.map((pool) => pool.close()));
      return samples;
    },
  };
}

/** One request for each cookie, eight at a time, measured as those of a load are. */
export async function sampleAll(
  gateway: string,
  cookies: readonly string[],
  path = '/api/x',
): Promise<Sample[]> {
  const pool = openPool(gateway);
  const samples: Sample[] = [];
  const waiting = cookies.values();
  const askOnAndOn = async () => {
    for (const cookie of waiting) samples.push(await ask(pool, path, cookie));
  };
  await Promise.all(Array.from({ length: 8 }, askOnAndOn));
  await pool.close();
  return samples;
}

/** One request. */
export async function sample(gateway: string, cookie: string, path?: string): Promise<Sample> {
  return (await sampleAll(gateway, [cookie], path))[0] as Sample;
}

type Gateway = Pool & { readonly origin: string };

/** As many connections as are needed: nobody waits here for somebody else's answer. */
function openPool(origin: string): Gateway {
  return Object.assign(
    new Pool(origin, { headersTimeout: ANSWER_LIMIT_MS, bodyTimeout: ANSWER_LIMIT_MS, connections: null }),
    { origin },
  );
}

async function ask(pool: Gateway, path: string, cookie: string): Promise<Sample> {
  const sentAt = performance.now();
  const answer = await answerOf(pool, path, cookie);
  return { gateway: pool.origin, sentAt, ms: performance.now() - sentAt, ...answer };
}

async function answerOf(pool: Gateway, path: string, cookie: string) {
  try {
    const { statusCode, headers, body } = await pool.request({ method: 'GET', path, headers: { cookie } });
    const text = await body.text();
    return {
      status: statusCode,
      code: statusCode < 400 ? '' : codeOf(text),
      hasRetryAfter: /^[1-9]\d*$/.test(String(headers['retry-after'])),
      clearsCookies: [headers['set-cookie'] ?? []].flat().some(isClearing),
    };
  } catch (error) {
    const code = String((error as { code?: unknown }).code ?? error);
    return { status: 0, code, hasRetryAfter: false, clearsCookies: false };
  }
}

function codeOf(body: string): string {
  try {
    return String(JSON.parse(body).code);
  } catch {
    return body.slice(0, 100);
  }
}

function isClearing(setCookie: string): boolean {
  const [, value] = /^[^=]*=([^;]*)/.exec(setCookie) ?? [];
  return value === '' || /max-age=0\b/i.test(setCookie) || /expires=thu, 01 jan 1970/i.test(setCookie);
}

/** What is reported of samples. */
export function tally(samples: readonly Sample[]) {
  const count = (is: (each: Sample) => boolean) => samples.filter(is).length;
  return {
    sent: samples.length,
    failed: count(({ status }) => status !== 200),
    wrong401s: count(({ status }) => status === 401),
    cookiesCleared: count(({ clearsCookies }) => clearsCookies),
    p99Ms: percentile(samples, 0.99),
  };
}

/** @returns whole milliseconds; 0 without samples */
export function percentile(samples: readonly Sample[], part: number): number {
  const sorted = samples.map(({ ms }) => ms).sort((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0);
}

/** Answers by kind, such as `{ '200': 40, '503 session-store-unavailable': 2 }`: for the message of a failed test. */
export function kindsOf(samples: readonly Sample[]): Record<string, number> {
  const kinds: Record<string, number> = {};
  for (const { status, code } of samples) {
    const kind = `${status} ${code}`.trim();
    kinds[kind] = (kinds[kind] ?? 0) + 1;
  }
  return kinds;
}
