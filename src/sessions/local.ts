// The local tier: this process's memory. Answers without I/O while an entry is fresh and nothing revoked it, and
// stands in for the stores, for a while, when they cannot be asked.
import { LRUCache } from 'lru-cache';
import type { Lookup } from '../policy/session.ts';
import type { Moment, RevocationLog } from './revocation-log.ts';

/** What a tier said about one cookie. `failed` is never kept. */
export type Answer = Extract<Lookup, { outcome: 'found' | 'none' }>;

export interface LocalTier {
  /** The answer while it is fresh and not revoked. */
  fresh(cookieValue: string): Answer | null;
  /** The answer past its freshness, for when no store can be asked: up to `staleIfError`, never past a revocation. */
  stale(cookieValue: string): Answer | null;
  /**
   * @param keys what would revoke it; see revocation-log.ts
   * @param since the moment before the question was asked: a revocation in between keeps the answer out
   * @param age how long ago the store said so, in ms
   */
  keep(cookieValue: string, keys: readonly string[], answer: Answer, since: Moment, age?: number): void;
  readonly size: number;
}

export interface LocalTierOptions {
  readonly log: RevocationLog;
  /** How long an answer is fresh, in ms; asked each time, because it depends on whether revocations are heard. */
  readonly freshMs: () => number;
  readonly staleIfErrorMs: number;
  readonly mostEntries?: number;
  /** Milliseconds that never run backwards. */
  readonly clock?: () => number;
}

interface Entry {
  readonly answer: Answer;
  /** What revokes it: the token's hash, the person, and who acts as them. */
  readonly keys: readonly string[];
  readonly since: Moment;
  readonly keptAt: number;
}

const MOST_ENTRIES = 100_000;

export function createLocalTier(options: LocalTierOptions): LocalTier {
  const {
    log,
    freshMs,
    staleIfErrorMs,
    mostEntries = MOST_ENTRIES,
    clock = () => performance.now(),
  } = options;
  const entries = new LRUCache<string, Entry>({ max: mostEntries });
  const youngerThan = (mostAge: number, entry: Entry | undefined) =>
    entry !== undefined && clock() - entry.keptAt < mostAge ? entry : null;
  return {
    fresh(cookieValue) {
      const entry = youngerThan(freshMs(), entries.get(cookieValue));
      return entry === null || log.isDoubtful(entry.since, entry.keys) ? null : entry.answer;
    },
    stale(cookieValue) {
      const entry = youngerThan(staleIfErrorMs, entries.get(cookieValue));
      return entry === null || log.isRevoked(entry.since, entry.keys) ? null : entry.answer;
    },
    keep(cookieValue, keys, answer, since, age = 0) {
      // A ban's end is nobody's session: what lifts it could not be told from here.
      if (answer.outcome === 'none' && answer.reason === 'user-banned') return;
      if (log.isRevoked(since, keys)) return;
      entries.set(flat(cookieValue), { answer: asLocal(answer), keys, since, keptAt: clock() - age });
    },
    get size() {
      return entries.size;
    },
  };
}

function asLocal(answer: Answer): Answer {
  return answer.outcome === 'found' ? { ...answer, tier: 'local' } : answer;
}

/** A slice of a header keeps the whole header alive in V8; a key must weigh no more than itself. */
function flat(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}
