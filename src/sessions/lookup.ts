// Who is asking? Down the ladder: this process's memory, the cookie's signature, the shared tier, the store; and, when
// none of them can be asked, the JWE cookie.
import type { LookUpSession, Lookup, Session } from '../policy/session.ts';
import type { FindCookie, ReadCredential, VerifyToken } from './cookie.ts';
import { Flights } from './flights.ts';
import type { Answer, LocalTier } from './local.ts';
import type { Moment, RevocationLog } from './revocation-log.ts';
import type { SharedEntry, SharedTier } from './shared.ts';
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
  /** What the client's JWE cookie holds, if it may be believed; see fallback-cookie.ts. */
  readonly readFallback: (cookieHeader: string | undefined, token: string) => Session | null;
  readonly log: RevocationLog;
  readonly health: TierHealth;
  /** Is every change heard? Only then is Redis filled: an answer must not outlive what nobody here hears of. */
  readonly hearsChanges: () => boolean;
}

/** Joins the tiers to the one question the rest of the gateway asks. Answers from memory without waiting. */
export function createLookup(parts: LookupParts): LookUpSession {
  const { findCookie, verifyToken, local, shared, log, health, readFallback } = parts;
  const askTiers = createTierQuestion(parts);
  // One question in flight per session, however many requests wait for its answer.
  const flights = new Flights();
  const fallBack = (lookup: Lookup, cookieHeader: string | undefined, token: string): Lookup => {
    if (lookup.outcome !== 'failed' || (shared && !health.isAway('shared'))) return lookup;
    const session = readFallback(cookieHeader, token);
    return session ? { outcome: 'found', session, tier: 'cookie' } : lookup;
  };
  return (cookieHeader) => {
    const found = findCookie(cookieHeader);
    if (found.kind === 'absent') return { outcome: 'none', reason: 'no-session-cookie' };
    if (found.kind === 'invalid') return { outcome: 'none', reason: 'session-invalid' };
    // Only values whose signature was right are ever kept.
    const kept = local.fresh(found.value);
    if (kept) return kept;
    const token = verifyToken(found.value);
    if (token === null) return { outcome: 'none', reason: 'session-invalid' };
    // Whoever comes after a revocation must not be given an answer that was asked for before it.
    const running = flights.get(token);
    const joined = running?.since === log.now() ? running : null;
    const flight = joined ?? { token, since: log.now(), answer: askTiers(found.value, token) };
    // Each request has a cookie of its own to fall back on.
    const answer = flight.answer.then((lookup) => fallBack(lookup, cookieHeader, token));
    if (joined) return answer;
    flights.add(flight);
    return answer.finally(() => flights.delete(flight));
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

/** How often a question is asked anew because its answer was overtaken by a revocation. */
const MOST_ROUNDS = 3;

function createTierQuestion(parts: LookupParts) {
  const { local, shared, readStore, log, health, hearsChanges } = parts;

  async function ask(cookieValue: string, token: string, hash: string, since: Moment): Promise<Told> {
    const askedAt = performance.now();
    // What changed since the question was asked is not in the answer.
    const isTrue = (session: Session) => !log.isDoubtful(since, revokingKeys(hash, session));
    // Whoever can write to Redis may put back what was deleted.
    const isPutBack = ({ session, at }: SharedEntry) => log.isRevokedAfter(at, revokingKeys(hash, session));
    const entry = await fromShared(shared, token, health);
    if (entry?.isFresh && isTrue(entry.session) && !isPutBack(entry)) return told(entry);
    const lookup = await askStore(token, readStore, health);
    if (lookup.outcome === 'failed') {
      const stale = local.stale(cookieValue);
      if (stale) return { lookup: stale, age: 0 };
      const standsIn = entry && !log.isRevoked(since, revokingKeys(hash, entry.session)) && !isPutBack(entry);
      return standsIn ? told(entry) : { lookup, age: 0 };
    }
    const isTimely = performance.now() - askedAt < FILL_WITHIN_MS;
    if (lookup.outcome === 'found' && isTimely && hearsChanges() && isTrue(lookup.session))
      fill(shared, token, lookup.session, health);
    return { lookup, age: 0 };
  }

  return async (cookieValue: string, token: string): Promise<Lookup> => {
    const hash = tokenHash(token);
    for (let round = 1; ; round++) {
      const since = log.now();
      const { lookup, age } = await ask(cookieValue, token, hash, since);
      if (lookup.outcome === 'failed' || (lookup.outcome === 'found' && lookup.tier === 'local'))
        return lookup;
      const keys = lookup.outcome === 'found' ? revokingKeys(hash, lookup.session) : [hash];
      if (log.isDoubtful(since, keys) && round < MOST_ROUNDS) continue;
      if (isUsualSpelling(cookieValue)) local.keep(cookieValue, keys, lookup, since, age);
      return lookup;
    }
  };
}

/** Longer ago than that, the place of an entry that was deleted meanwhile may no longer be kept; see shared.ts. */
const FILL_WITHIN_MS = 1500;

interface Told {
  readonly lookup: Lookup;
  /** How long ago the store said so, in ms. */
  readonly age: number;
}

function told({ session, age }: SharedEntry): Told {
  return { lookup: { outcome: 'found', session, tier: 'shared' }, age };
}

/** Nobody waits for it. */
function fill(shared: SharedTier | null, token: string, session: Session, health: TierHealth): void {
  shared?.set(token, session).then(
    (isWritten) => isWritten && health.answered('shared-fill'),
    (error: unknown) => health.failed('shared-fill', error),
  );
}

/** Escapes can be spelled in many ways: only the one that is given out is kept, or one session could fill the memory. */
function isUsualSpelling(cookieValue: string): boolean {
  return cookieValue === encodeURIComponent(decodeURIComponent(cookieValue));
}

/** Whatever of these changes, the answer is no longer true. */
function revokingKeys(hash: string, { userId, impersonatedBy }: Session): string[] {
  return impersonatedBy === null ? [hash, userId] : [hash, userId, impersonatedBy];
}

async function fromShared(
  shared: SharedTier | null,
  token: string,
  health: TierHealth,
): Promise<SharedEntry | null> {
  const askedAt = performance.now();
  try {
    if (!shared) return null;
    const entry = await shared.get(token);
    if (entry !== undefined) health.answered('shared');
    return entry ?? null;
  } catch (error) {
    health.failed('shared', error, askedAt);
    return null;
  }
}

async function askStore(token: string, readStore: ReadSession, health: TierHealth): Promise<Lookup> {
  const askedAt = performance.now();
  try {
    const lookup = lookupOf(await readStore(token));
    health.answered('store');
    return lookup;
  } catch (error) {
    health.failed('store', error, askedAt);
    return { outcome: 'failed', cause: error };
  }
}

function lookupOf(answer: StoreAnswer): Answer {
  if (answer.found === 'session') return { outcome: 'found', session: answer.session, tier: 'store' };
  if (answer.found === 'ended') return { outcome: 'none', reason: 'user-banned', ban: answer.ban };
  return { outcome: 'none', reason: 'session-expired' };
}
