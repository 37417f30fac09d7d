// Who is asking? Down the ladder: this process's memory, the cookie's signature, the shared tier, the store.
import type { LookUpSession, Lookup, Session } from '../policy/session.ts';
import type { FindCookie, ReadCredential, VerifyToken } from './cookie.ts';
import type { Answer, LocalTier } from './local.ts';
import type { RevocationLog } from './revocation-log.ts';
import type { SharedTier } from './shared.ts';
import type { ReadSession, StoreAnswer } from './store.ts';
import type { TierHealth } from './tier-health.ts';
import { tokenHash } from './token-hash.ts';

export interface LookupParts {
  readonly findCookie: FindCookie;
  readonly verifyToken: VerifyToken;
  readonly local: LocalTier;
  /** Null without Redis. */
  readonly shared: SharedTier | null;
  readonly readStore: ReadSession;
  readonly log: RevocationLog;
  readonly health: TierHealth;
}

/** Joins the tiers to the one question the rest of the gateway asks. Answers from memory without waiting. */
export function createLookup(parts: LookupParts): LookUpSession {
  const { findCookie, verifyToken, local } = parts;
  const askTiers = createTierQuestion(parts);
  // One question in flight per session, however many requests wait for its answer.
  const flights = new Map<string, Promise<Lookup>>();
  return (cookieHeader) => {
    const found = findCookie(cookieHeader);
    if (found.kind === 'absent') return { outcome: 'none', reason: 'no-session-cookie' };
    if (found.kind === 'invalid') return { outcome: 'none', reason: 'session-invalid' };
    // Only values whose signature was right are ever kept.
    const kept = local.fresh(found.value);
    if (kept) return kept;
    const token = verifyToken(found.value);
    if (token === null) return { outcome: 'none', reason: 'session-invalid' };
    const running = flights.get(token);
    if (running) return running;
    const flight = askTiers(found.value, token).finally(() => flights.delete(token));
    flights.set(token, flight);
    return flight;
  };
}

/** Asks the store and nothing else: for the endpoints that look at the session itself. */
export function createStoreLookup(
  readCredential: ReadCredential,
  readStore: ReadSession,
  health: TierHealth,
): LookUpSession {
  return async (cookieHeader) => {
    const credential = readCredential(cookieHeader);
    if (credential.kind === 'absent') return { outcome: 'none', reason: 'no-session-cookie' };
    if (credential.kind === 'invalid') return { outcome: 'none', reason: 'session-invalid' };
    return askStore(credential.token, readStore, health);
  };
}

function createTierQuestion({ local, shared, readStore, log, health }: LookupParts) {
  return async (cookieValue: string, token: string): Promise<Lookup> => {
    const since = log.now();
    const hash = tokenHash(token);
    const cached = await fromShared(shared, token, health);
    // What changed since the question was asked is not in the answer.
    if (cached && !log.isRevoked(since, revokingKeys(hash, cached))) {
      const answer: Answer = { outcome: 'found', session: cached, tier: 'shared' };
      local.keep(cookieValue, revokingKeys(hash, cached), answer, since);
      return answer;
    }
    const lookup = await askStore(token, readStore, health);
    if (lookup.outcome === 'failed') return local.stale(cookieValue) ?? lookup;
    const keys = lookup.outcome === 'found' ? revokingKeys(hash, lookup.session) : [hash];
    local.keep(cookieValue, keys, lookup, since);
    if (lookup.outcome === 'found' && !log.isRevoked(since, keys))
      shared?.set(token, lookup.session).catch((error: unknown) => health.failed('shared', error));
    return lookup;
  };
}

/** Whatever of these changes, the answer is no longer true. */
function revokingKeys(hash: string, { userId, impersonatedBy }: Session): string[] {
  return impersonatedBy === null ? [hash, userId] : [hash, userId, impersonatedBy];
}

async function fromShared(
  shared: SharedTier | null,
  token: string,
  health: TierHealth,
): Promise<Session | null> {
  try {
    if (!shared) return null;
    const session = await shared.get(token);
    if (session !== undefined) health.answered('shared');
    return session ?? null;
  } catch (error) {
    health.failed('shared', error);
    return null;
  }
}

async function askStore(token: string, readStore: ReadSession, health: TierHealth): Promise<Lookup> {
  try {
    const lookup = lookupOf(await readStore(token));
    health.answered('store');
    return lookup;
  } catch (error) {
    health.failed('store', error);
    return { outcome: 'failed', cause: error };
  }
}

function lookupOf(answer: StoreAnswer): Answer {
  if (answer.found === 'session') return { outcome: 'found', session: answer.session, tier: 'store' };
  if (answer.found === 'ended') return { outcome: 'none', reason: 'user-banned', ban: answer.ban };
  return { outcome: 'none', reason: 'session-expired' };
}
