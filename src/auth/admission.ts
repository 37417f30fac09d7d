// May people who are signed in still be here? Answered from what is known of them; GitHub is asked again now and then,
// beside their requests, and before one only when nothing is known that may be believed.
import { LRUCache } from 'lru-cache';
import { GatewayError } from '../errors.ts';
import {
  type AdmissionRules,
  isNamed,
  membershipRefusal,
  needsMemberships,
  standingOf,
} from '../policy/admission.ts';
import type { GitHubAccount, LookUpSession, Lookup, Restriction, Session } from '../policy/session.ts';
import type { CheckAccount } from './account-check.ts';

export interface AdmissionOptions {
  readonly rules: AdmissionRules;
  /** How old an answer of GitHub may grow before it is asked again, in ms. */
  readonly recheck: number;
  /** How old it may grow while GitHub cannot be asked, in ms. */
  readonly staleIfError: number;
  readonly check: CheckAccount;
}

export interface Admission {
  /** The same question; its answer says who may not be here. Waits for nothing while what is known is young enough. */
  wrap(lookUp: LookUpSession): LookUpSession;
  /** The session is in use: asks again when it is time. */
  touch(session: Session): void;
}

/** Whoever is missing may have been let in meanwhile: they should not wait long. */
const RECHECK_MISSING_MS = 60_000;
/** After a failure, or an answer that changed nothing, a person is left alone for so long. */
const REST_MS = 30_000;

type Found = Extract<Lookup, { outcome: 'found' }>;

export function createAdmission(options: AdmissionOptions): Admission {
  const { rules, recheck, staleIfError, check } = options;
  // By user id: when GitHub may be asked again, and when it has last said what is known.
  const restUntil = new LRUCache<string, number>({ max: 50_000 });
  const confirmedAt = new LRUCache<string, number>({ max: 50_000 });

  const isOlderThan = (mostAge: number, { userId, github }: Session) => {
    const at = github?.memberships?.at ?? Number.NEGATIVE_INFINITY;
    const now = Date.now();
    return now - at > mostAge && now - Math.max(at, confirmedAt.get(userId) ?? at) > mostAge;
  };

  const ask = async (session: Session, since: number) => {
    const startedAt = Date.now();
    restUntil.set(session.userId, startedAt + Math.min(REST_MS, recheck));
    const checked = await check(session, since);
    if (checked === 'good') confirmedAt.set(session.userId, startedAt);
    return checked;
  };

  /** Is GitHub's word needed for this person at all? */
  const dependsOnGitHub = ({ encryptedToken, login }: GitHubAccount) =>
    needsMemberships(rules) && encryptedToken !== null && !isNamed(rules, login);

  const touch = (session: Session) => {
    const { userId, github } = session;
    if (!github || !dependsOnGitHub(github) || github.tokenRefused) return;
    const isMissing = standingOf(rules, github) === 'missing';
    if (!isOlderThan(isMissing ? Math.min(RECHECK_MISSING_MS, recheck) : recheck, session)) return;
    if ((restUntil.get(userId) ?? 0) > Date.now()) return;
    // What it finds is felt by the next request; what goes wrong, once what is known is too old.
    ask(session, Date.now() - Math.min(REST_MS, recheck)).catch(() => {});
  };

  /** By what is known; null when that is not enough. */
  const judge = (lookup: Found): Lookup | null => {
    const { session } = lookup;
    const { github } = session;
    // The JWE cookie holds nothing of this; it was made for somebody who was let in minutes ago.
    if (github === undefined) return lookup;
    if (github === null) return restricted(lookup, membershipRefusal(rules, null));
    if (isNamed(rules, github.login)) return lookup;
    const standing = standingOf(rules, github);
    if (standing === 'missing' && !needsMemberships(rules))
      return restricted(lookup, membershipRefusal(rules, github.scopes));
    // Whoever takes the gateway's right to ask away is not let in on what it was told before.
    if (github.tokenRefused) return restricted(lookup, { code: 'github-access-denied', fields: {} });
    if (github.encryptedToken === null) return restricted(lookup, { code: 'reauth-required', fields: {} });
    if (standing === 'unknown' || isOlderThan(staleIfError, session)) return null;
    return standing === 'admitted' ? lookup : restricted(lookup, membershipRefusal(rules, github.scopes));
  };

  const askAndJudge = async (lookup: Found, again: () => Lookup | Promise<Lookup>): Promise<Lookup> => {
    try {
      await ask(lookup.session, Date.now() - recheck);
    } catch (error) {
      return unanswered(lookup, error);
    }
    const now = await again();
    if (now.outcome !== 'found') return now;
    return judge(now) ?? unanswered(now, new GatewayError('github-unavailable', { status: 503 }));
  };

  const admit = (lookup: Lookup, again: () => Lookup | Promise<Lookup>): Lookup | Promise<Lookup> => {
    if (lookup.outcome !== 'found') return lookup;
    const judged = judge(lookup);
    if (judged === null) return askAndJudge(lookup, again);
    touch(lookup.session);
    return judged;
  };

  return {
    wrap: (lookUp) => (cookieHeader) => {
      const lookup = lookUp(cookieHeader);
      const again = () => lookUp(cookieHeader);
      return lookup instanceof Promise ? lookup.then((each) => admit(each, again)) : admit(lookup, again);
    },
    touch,
  };
}

function restricted(lookup: Found, restriction: Restriction): Lookup {
  return { ...lookup, restriction };
}

function unanswered(lookup: Found, cause: unknown): Lookup {
  const code = cause instanceof GatewayError ? cause.code : null;
  if (code === 'reauth-required') return restricted(lookup, { code, fields: {} });
  if (code === 'github-unavailable') return { outcome: 'failed', cause, code };
  return { outcome: 'failed', cause };
}
