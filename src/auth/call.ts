// One call into Better Auth, with the failures it hides brought back: a failed store is no "signed out", and an
// error of ours is more than a bare 500.
import { AsyncLocalStorage } from 'node:async_hooks';
import { watchStore } from '../database/failures.ts';
import { GatewayError } from '../errors.ts';

interface Call {
  error: unknown;
}

const calls = new AsyncLocalStorage<Call>();

/** Better Auth's onAPIError hook: remembers the first error of the running call. */
export function noteEndpointError(error: unknown): void {
  const call = calls.getStore();
  if (call && call.error === null) call.error = error;
}

/**
 * @throws {GatewayError} thrown by one of our endpoints or providers; session-store-unavailable when the store
 *   failed on the way, whatever the answer says; internal-error for a 500
 */
export async function callAuth(
  handler: (request: Request) => Promise<Response>,
  request: Request,
): Promise<Response> {
  const call: Call = { error: null };
  const { result, failure } = await watchStore(() => calls.run(call, () => handler(request)));
  if (call.error instanceof GatewayError) throw call.error;
  if (failure !== null) throw new GatewayError('session-store-unavailable', { cause: failure });
  if (result.status >= 500) throw new GatewayError('internal-error', { cause: call.error });
  return result;
}
