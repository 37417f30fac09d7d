// Asks every target of an upstream now and then whether it is well, each time on a new connection.
import { type Dispatcher, request } from 'undici';
import type { Target } from './target.ts';
import type { Upstream } from './upstream.ts';
import type { UpstreamOptions } from './upstream-options.ts';

type HealthOptions = NonNullable<UpstreamOptions['health']>;

/** @returns a function that ends the checks; null for an upstream without a health setting */
export function checkHealth({ options, targets }: Upstream): (() => void) | null {
  const { health } = options;
  if (!health) return null;
  const ended = new AbortController();
  const endings = targets.map((target) => checkAgain(target, health, ended.signal));
  return () => {
    ended.abort();
    for (const end of endings) end();
  };
}

function checkAgain(target: Target, health: HealthOptions, ended: AbortSignal): () => void {
  // Beside the connections for requests: a target that has no room is not ill.
  const dispatcher = target.connections.openForChecks();
  let isUnderWay = false;
  /** Checks in a row that speak against what the target is taken for. */
  let against = 0;
  const check = async () => {
    if (isUnderWay) return;
    isUnderWay = true;
    const isWell = await answersWell(target, health, dispatcher, ended);
    isUnderWay = false;
    if (ended.aborted) return;
    against = isWell === target.isHealthy ? 0 : against + 1;
    if (against < (isWell ? health.healthy : health.unhealthy)) return;
    against = 0;
    target.isHealthy = isWell;
  };
  void check();
  const timer = setInterval(check, health.interval).unref();
  return () => {
    clearInterval(timer);
    dispatcher.destroy().catch(() => {});
  };
}

async function answersWell(
  target: Target,
  { path, timeout }: HealthOptions,
  dispatcher: Dispatcher,
  ended: AbortSignal,
): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${target.origin}${path}`, {
      dispatcher,
      headers: { 'user-agent': 'better-hub-gateway health check' },
      signal: AbortSignal.any([ended, AbortSignal.timeout(timeout)]),
    });
    await body.dump();
    return statusCode >= 200 && statusCode < 400;
  } catch {
    return false;
  }
}
