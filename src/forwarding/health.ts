// Asks every target of an upstream now and then whether it is well, and takes it out of turn while it is not.
import { request } from 'undici';
import type { Upstream, UpstreamTarget } from './upstream.ts';

/** Told once per change. */
export type OnHealthChange = (upstream: string, target: string, healthy: boolean) => void;

/** @returns a function that ends the checks; null for an upstream without a health setting */
export function checkHealth(upstream: Upstream, onChange: OnHealthChange): (() => void) | null {
  const { health } = upstream.options;
  if (!health) return null;
  const ended = new AbortController();
  const check = async (target: UpstreamTarget) => {
    const healthy = await answersWell(upstream, target, health, ended.signal);
    if (ended.signal.aborted || healthy === target.healthy) return;
    target.healthy = healthy;
    onChange(upstream.name, target.origin, healthy);
  };
  const checkAll = () => {
    for (const target of upstream.targets) void check(target);
  };
  checkAll();
  const timer = setInterval(checkAll, health.interval);
  timer.unref();
  return () => {
    clearInterval(timer);
    ended.abort();
  };
}

async function answersWell(
  upstream: Upstream,
  target: UpstreamTarget,
  health: { path: string; interval: number },
  ended: AbortSignal,
): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${target.origin}${health.path}`, {
      dispatcher: upstream.dispatcher,
      signal: AbortSignal.any([ended, AbortSignal.timeout(health.interval)]),
    });
    await body.dump();
    return statusCode >= 200 && statusCode < 400;
  } catch {
    return false;
  }
}
