// Sessions, access and targets that tests vary by a field or two.
import type { Access } from '../../src/policy/route.ts';
import type { GitHubAccount, Session } from '../../src/policy/session.ts';
import { parseTarget, type Target } from '../../src/policy/target.ts';

/** The time all samples are made for, in epoch milliseconds. */
export const NOW = Date.UTC(2030, 0, 15, 12);
export const MINUTE = 60_000;

export function accessOf(kind: Access['kind'], more: Partial<Access> = {}): Access {
  return { kind, scopes: [], roles: [], unknownScopes: 'deny', impersonatorWrites: false, ...more };
}

export function sessionOf(more: Partial<Session> = {}): Session {
  return {
    id: 'session-1',
    userId: 'user-1',
    expiresAt: NOW + MINUTE,
    impersonatedBy: null,
    email: 'octocat@example.com',
    name: 'The Octocat',
    role: 'user',
    ban: null,
    github: accountOf(),
    ...more,
  };
}

export function accountOf(more: Partial<GitHubAccount> = {}): GitHubAccount {
  return {
    id: '583231',
    login: 'octocat',
    encryptedToken: null,
    tokenExpiresAt: null,
    scopes: ['read:user'],
    ...more,
  };
}

/** @throws when the target is refused */
export function targetOf(url: string): Target {
  const result = parseTarget(url);
  if (!result.ok) throw new Error(`${url} is refused: ${result.reason}`);
  return result.target;
}
