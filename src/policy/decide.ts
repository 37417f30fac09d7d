// May this pass? Data in, a closed answer out; another file turns it into HTTP. Pure.
import type { Access } from './route.ts';
import { missingScopes } from './scopes.ts';
import { type Ban, banFields, isBanned, type Lookup, type Restriction, type Session } from './session.ts';

/** Codes decide() may refuse with; each is a row of errors.ts. */
export type DenyCode =
  | 'no-session-cookie'
  | 'session-invalid'
  | 'session-expired'
  | 'session-store-unavailable'
  | 'github-unavailable'
  | Restriction['code']
  | 'user-banned'
  | 'cross-site-request'
  | 'impersonation-read-only'
  | 'role-missing'
  | 'scope-missing'
  | 'scopes-unknown';

export type Decision =
  | { readonly allow: true; readonly session: Session | null }
  | {
      readonly allow: false;
      readonly code: DenyCode;
      readonly fields: Record<string, unknown>;
      /** Instead of what the code stands for in general. */
      readonly detail?: string;
    };

export interface Question {
  readonly access: Access;
  /** Null on public routes: nobody was asked. */
  readonly lookup: Lookup | null;
  /** An unsafe method with our cookie that another site sent. */
  readonly crossSite: boolean;
  readonly safeMethod: boolean;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** Decides in the order of the contract: who (401, 503), cross-site (403), what for (403). Its last line denies. */
export function decide(question: Question): Decision {
  const { access, lookup, now } = question;
  if (access.kind === 'public') return question.crossSite ? deny('cross-site-request') : pass(null);
  if (lookup?.outcome === 'failed') return deny(lookup.code ?? 'session-store-unavailable');
  const ban = banOf(lookup, now);
  const live = liveSession(lookup, now);
  const restriction = live && lookup?.outcome === 'found' ? lookup.restriction : undefined;
  if (live && !restriction)
    return question.crossSite ? deny('cross-site-request') : decideFor(live, question);
  if (access.kind === 'optional') return question.crossSite ? deny('cross-site-request') : pass(null);
  if (restriction) return { allow: false, ...restriction };
  if (ban) return deny('user-banned', banFields(ban));
  if (lookup?.outcome === 'none' && lookup.reason !== 'user-banned') return deny(lookup.reason);
  return deny('session-expired');
}

/**
 * The session of a person who is signed in and not banned, whatever else speaks against them: who is announced where
 * refusals are only reported.
 */
export function liveSession(lookup: Lookup | null, now: number): Session | null {
  if (lookup?.outcome !== 'found' || isBanned(lookup.session.ban, now)) return null;
  return lookup.session.expiresAt > now ? lookup.session : null;
}

function decideFor(session: Session, { access, safeMethod }: Question): Decision {
  if (session.impersonatedBy !== null && !safeMethod && !access.impersonatorWrites)
    return deny('impersonation-read-only');
  return decideRoles(session, access) ?? decideScopes(session, access) ?? pass(session);
}

function decideRoles(session: Session, access: Access): Decision | null {
  if (access.roles.length === 0) return null;
  const roles = session.role.split(',').map((role) => role.trim());
  if (access.roles.some((role) => roles.includes(role))) return null;
  return deny('role-missing', { requiredRoles: access.roles, roles });
}

function decideScopes(session: Session, access: Access): Decision | null {
  if (access.scopes.length === 0) return null;
  // Nobody could be asked: that is no reason to say that something is missing.
  if (session.github === undefined) return deny('session-store-unavailable');
  const granted = session.github?.scopes;
  if (granted === null)
    return access.unknownScopes === 'allow'
      ? null
      : deny('scopes-unknown', { requiredScopes: access.scopes });
  const missing = missingScopes(access.scopes, granted ?? []);
  if (missing.length === 0) return null;
  return deny('scope-missing', {
    requiredScopes: access.scopes,
    grantedScopes: granted ?? [],
    missingScopes: missing,
  });
}

function banOf(lookup: Lookup | null, now: number): Ban | null {
  if (lookup?.outcome === 'found') return isBanned(lookup.session.ban, now) ? lookup.session.ban : null;
  if (lookup?.outcome === 'none' && lookup.ban) return isBanned(lookup.ban, now) ? lookup.ban : null;
  return null;
}

function pass(session: Session | null): Decision {
  return { allow: true, session };
}

function deny(code: DenyCode, fields: Record<string, unknown> = {}): Decision {
  return { allow: false, code, fields };
}
