// One call into Better Auth, with the failures it hides brought back: a failed store is no "signed out".
import { watchStore } from '../database/failures.ts';
import { GatewayError } from '../errors.ts';

/** Runs work on the store so that all of it is done, or nothing. */
export type InTransaction = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * @param inTransaction for what changes something: its failure then means that nothing was changed
 * @throws {GatewayError} thrown by one of our endpoints or providers; session-store-unavailable when the store
 *   failed on the way, whatever the answer says; internal-error for a 500
 */
export async function callAuth(
  handler: (request: Request) => Promise<Response>,
  request: Request,
  inTransaction: InTransaction = (work) => work(),
): Promise<Response> {
  const { outcome, failure } = await watchStore(() => inTransaction(() => handler(request)));
  const error = outcome.status === 'rejected' ? outcome.reason : null;
  if (error instanceof GatewayError) throw error;
  if (failure !== null) throw new GatewayError('session-store-unavailable', { cause: failure });
  if (isUnstorable(error)) throw new GatewayError('bad-request', { cause: error });
  if (outcome.status === 'rejected' || outcome.value.status >= 500)
    throw new GatewayError('internal-error', { cause: error });
  return outcome.value;
}

/** A value Postgres cannot hold, such as a NUL in a name (SQLSTATE class 22). */
function isUnstorable(error: unknown): boolean {
  return /^22[0-9A-Z]{3}$/.test(String((error as { code?: unknown } | null)?.code ?? ''));
}
