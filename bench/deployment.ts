// A load on a deployment of one's own, bounded in time and connections: percentiles, and answers by their code.
import { Agent } from 'undici';
import { percentile } from './statistics.ts';

export interface DeploymentOptions {
  readonly url: string;
  readonly cookie?: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly connections: number;
  readonly seconds: number;
}

export interface DeploymentResult {
  readonly requests: number;
  readonly seconds: number;
  /** Latency of answers in ms, whatever their status. */
  readonly latency: Readonly<Record<'p50' | 'p90' | 'p99' | 'p99.9' | 'max', number>>;
  /** Answers by status, refusals of the gateway with their code, failures by theirs: `503 overloaded`, `ECONNRESET`. */
  readonly answers: Readonly<Record<string, number>>;
}

const ANSWER_WITHIN_MS = 30_000;

/** Each connection asks again as soon as it is answered. */
export async function loadDeployment(options: DeploymentOptions): Promise<DeploymentResult> {
  const { connections, seconds } = options;
  const agent = new Agent({ connections, headersTimeout: ANSWER_WITHIN_MS, bodyTimeout: ANSWER_WITHIN_MS });
  const latencies: number[] = [];
  const answers: Record<string, number> = {};
  const startedAt = performance.now();
  const endsAt = startedAt + seconds * 1000;
  const askOnAndOn = async () => {
    while (performance.now() < endsAt) {
      const sentAt = performance.now();
      const answer = await ask(agent, options);
      answers[answer] = (answers[answer] ?? 0) + 1;
      latencies.push(performance.now() - sentAt);
    }
  };
  await Promise.all(Array.from({ length: connections }, askOnAndOn));
  await agent.close();
  const at = (part: number) => percentile(latencies, part);
  return {
    requests: latencies.length,
    seconds: (performance.now() - startedAt) / 1000,
    latency: { p50: at(0.5), p90: at(0.9), p99: at(0.99), 'p99.9': at(0.999), max: at(1) },
    answers,
  };
}

/** @returns how it was answered, in a word */
async function ask(agent: Agent, { url, cookie, method, headers }: DeploymentOptions): Promise<string> {
  try {
    const { origin, pathname, search } = new URL(url);
    const { statusCode, body } = await agent.request({
      origin,
      path: pathname + search,
      method: method as 'GET',
      headers: { ...headers, ...(cookie === undefined ? {} : { cookie }) },
    });
    if (statusCode < 400) {
      await body.dump({ limit: Number.MAX_SAFE_INTEGER });
      return String(statusCode);
    }
    return `${statusCode} ${codeOf(await body.text())}`.trim();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    await pause();
    return code ?? message;
  }
}

/** Whoever refuses connections is not asked without end. */
function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 100));
}

/** The code of a problem (RFC 9457), if that is what was answered. */
function codeOf(text: string): string {
  try {
    return String((JSON.parse(text) as { code?: unknown }).code ?? '');
  } catch {
    return '';
  }
}

export function deploymentReport({ requests, seconds, latency, answers }: DeploymentResult): string {
  const ms = Object.entries(latency).map(([name, value]) => `${name} ${value.toFixed(1)}`);
  const byCount = Object.entries(answers).sort(([, a], [, b]) => b - a);
  return [
    `${requests} requests in ${seconds.toFixed(1)} s: ${Math.round(requests / seconds)} a second`,
    `latency, ms: ${ms.join(', ')}`,
    ...byCount.map(([answer, count]) => `${answer}: ${count} (${((count / requests) * 100).toFixed(2)} %)`),
  ].join('\n');
}
