// A person whose GitHub token is no good is told so, and where to get another.
import type { FastifyRequest } from 'fastify';
import { GatewayError } from '../errors.ts';
import type { TokenWatch } from '../forwarding/github-status.ts';
import type { Upstream } from '../forwarding/upstream.ts';
import type { Route } from '../policy/route.ts';
import type { Session } from '../policy/session.ts';
import { type JudgeParts, type RefusalParts, reportRefusal, whereToReturn } from './judge.ts';

export interface TokenWatchParts {
  /** Origin of GitHub's API, for upstreams that are GitHub itself. */
  readonly githubOrigin: string;
  /** An upstream says that GitHub refused the person's token: is that so? Never throws. */
  readonly isTokenRefused: (session: Session) => Promise<boolean>;
}

/** Looks into it when the upstream says that GitHub refused the token it got; null where it got none. */
export function watchToken(
  request: FastifyRequest,
  session: Session | null,
  route: Route,
  upstream: Upstream,
  parts: TokenWatchParts & JudgeParts,
): TokenWatch | null {
  if (session === null || upstream.options.githubToken === 'none') return null;
  const refusal = async () => {
    // Where nobody need be signed in, a dead token keeps nobody out.
    if (!(await parts.isTokenRefused(session)) || route.access.kind === 'optional') return null;
    const error = tokenRefusal({ code: 'github-access-denied', cause: undefined }, session, request, parts);
    if (!route.reportOnly) return error;
    reportRefusal(request, error, parts.logger);
    return null;
  };
  return { githubOrigin: parts.githubOrigin, refusal };
}

export function tokenRefusal(
  { code, cause }: Pick<GatewayError, 'code' | 'cause'>,
  { github }: Session,
  request: FastifyRequest,
  parts: RefusalParts,
): GatewayError {
  const reauthUrl = parts.signInUrl(github?.scopes ?? [], whereToReturn(request, parts));
  return new GatewayError(code, { fields: { reauthUrl }, cause });
}
