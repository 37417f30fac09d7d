import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Person } from '../person.ts';
import { hasAnyScope } from '../scopes.ts';
import type { State } from '../state.ts';
import type { Token } from '../tokens.ts';
import { ApiError } from './api-error.ts';
import type { RateWindow } from './rate-windows.ts';

export interface Caller {
  person: Person;
  token: Token;
}

/**
 * Who asks the API, with the headers GitHub tells about a token. `accepted` are the scopes an endpoint names.
 * @throws ApiError 401 without a living token.
 */
export function authenticate(
  state: State,
  request: FastifyRequest,
  reply: FastifyReply,
  accepted: readonly string[] = [],
): Caller {
  const caller = identify(state, request.headers.authorization);
  reply.headers(rateHeaders(state.rates.spend(caller?.person.id ?? null)));
  if (!caller) throw new ApiError(401, 'Requires authentication');
  reply.headers(tokenHeaders(caller.token, accepted));
  return caller;
}

/** Who asks, undefined without an Authorization header. @throws ApiError 401 when the token is not, or no longer, good. */
export function identify(state: State, authorization: string | undefined): Caller | undefined {
  if (!authorization) return undefined;
  const text = /^(?:bearer|token)\s+(\S+)$/i.exec(authorization)?.[1] ?? '';
  const token = state.tokens.find(text);
  const person = token && state.people.byId(token.personId);
  if (!token || !person) throw new ApiError(401, 'Bad credentials');
  return { token, person };
}

/** Whether the token may do what needs one of these scopes. Tokens without scopes may, unless made with a narrower list. */
export function mayUse(token: Token, accepted: readonly string[]): boolean {
  if (token.kind === 'app' || token.scopes === null) return true;
  return hasAnyScope(token.scopes, accepted);
}

export function rateHeaders({ limit, used, remaining, resetAt }: RateWindow): Record<string, string> {
  return {
    'x-ratelimit-limit': String(limit),
    'x-ratelimit-used': String(used),
    'x-ratelimit-remaining': String(remaining),
    'x-ratelimit-reset': String(resetAt),
    'x-ratelimit-resource': 'core',
  };
}

function tokenHeaders(token: Token, accepted: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  if (token.kind === 'classic' || token.kind === 'oauth') {
    headers['x-oauth-scopes'] = (token.scopes ?? []).join(', ');
    headers['x-accepted-oauth-scopes'] = accepted.join(', ');
  }
  if (token.clientId !== null) headers['x-oauth-client-id'] = token.clientId;
  if (token.clientId === null && token.expiresAt !== null) {
    headers['github-authentication-token-expiration'] = formatEnd(token.expiresAt);
  }
  return headers;
}

function formatEnd(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
