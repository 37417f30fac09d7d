// Does an answer say that GitHub refused the token? Upstreams say so in a header; GitHub itself by its status.
import type { GatewayError } from '../errors.ts';

export interface TokenWatch {
  /** An upstream at this origin is GitHub itself. */
  readonly githubOrigin: string;
  /** Asks GitHub; gives what the client is told when the token is dead, else null. Never throws. */
  readonly refusal: () => Promise<GatewayError | null>;
}

const NAME = 'x-github-status';
const REFUSED = /^40[13]$/;

/** @param rawHeaders names and values in turn */
export function saysGitHubRefused(
  status: number,
  rawHeaders: readonly string[],
  origin: string | undefined,
  { githubOrigin }: TokenWatch,
): boolean {
  if (origin === githubOrigin && (status === 401 || status === 403)) return true;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at];
    if (name?.length !== NAME.length || name.toLowerCase() !== NAME) continue;
    if (REFUSED.test(rawHeaders[at + 1] ?? '')) return true;
  }
  return false;
}
