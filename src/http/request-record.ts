// What is known about one request, gathered along its way: for the one line it leaves in the log, and what is counted.
import type { ServerResponse } from 'node:http';
import type { Tier } from '../policy/session.ts';
import type { Target } from '../policy/target.ts';

export interface RequestRecord {
  target: Target;
  /** The client's address, seen through trusted proxies. */
  clientAddress: string;
  /** `performance.now()` at the start. */
  readonly startedAt: number;
  route: string | null;
  upstream: string | null;
  /** `report`: it would be `deny`, but the route only reports refusals. */
  decision: 'allow' | 'deny' | 'report' | null;
  /** Code of the refusal or failure, or of what would have been one. */
  reason: string | null;
  /** What was behind a failure, in the words of the part that failed. */
  cause: string | null;
  tier: Tier | null;
  userId: string | null;
  impersonatedBy: string | null;
  lookupMs: number | null;
  /** The handshake was accepted: what is told is how it was opened, and how long it lasted. */
  isWebSocket: boolean;
  /** `performance.now()` when the request went to the upstream. */
  upstreamStartedAt: number | null;
}

declare module 'fastify' {
  interface FastifyRequest {
    record: RequestRecord;
  }
}

const NO_TARGET: Target = { path: '', query: '', matchPath: '' };

export function newRecord(): RequestRecord {
  return {
    target: NO_TARGET,
    clientAddress: '',
    startedAt: performance.now(),
    route: null,
    upstream: null,
    decision: null,
    reason: null,
    cause: null,
    tier: null,
    userId: null,
    impersonatedBy: null,
    lookupMs: null,
    isWebSocket: false,
    upstreamStartedAt: null,
  };
}

/** The status the client was told; null when it was gone before. */
export function statusOf({ isWebSocket }: RequestRecord, response: ServerResponse): number | null {
  if (isWebSocket) return 101;
  return response.headersSent ? response.statusCode : null;
}
