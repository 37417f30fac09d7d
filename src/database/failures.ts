// Did the store fail while this request was served? Better Auth reports an outage as "no session", or as success
// of a sign-out that deleted nothing; so the database itself notes it, and the edge answers 503.
import { AsyncLocalStorage } from 'node:async_hooks';

interface Watch {
  failure: unknown;
}

const watches = new AsyncLocalStorage<Watch>();

/** Runs `work` and tells, beside its outcome, the first failure of the store within it; null when there was none. */
export async function watchStore<T>(
  work: () => Promise<T>,
): Promise<{ outcome: PromiseSettledResult<T>; failure: unknown }> {
  const watch: Watch = { failure: null };
  const [outcome] = await Promise.allSettled([watches.run(watch, work)]);
  return { outcome, failure: watch.failure };
}

/** Called by the database for every error of a query or connection. */
export function noteStoreError(error: unknown): void {
  const watch = watches.getStore();
  if (watch && watch.failure === null && isStoreFailure(error)) watch.failure = error;
}

/** All is well after all: what failed was made good. */
export function forgetStoreError(): void {
  const watch = watches.getStore();
  if (watch) watch.failure = null;
}

/** Runs `work` so that its failures are nobody's but its own. */
export function unwatched<T>(work: () => T): T {
  return watches.exit(work);
}

/**
 * Could the store not be asked? Everything but its own "no": a violated constraint (SQLSTATE class 23,
 * SQLITE_CONSTRAINT) and a value it cannot hold (class 22) are answers.
 */
export function isStoreFailure(error: unknown): boolean {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  if (typeof errcode === 'number') return (errcode & 0xff) !== SQLITE_CONSTRAINT;
  return !(typeof code === 'string' && /^2[23]/.test(code) && code.length === 5);
}

const SQLITE_CONSTRAINT = 19;
