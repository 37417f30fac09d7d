// What has been revoked, and when: the memory that keeps an answer asked for before a revocation from being believed
// after it. Time is a counter of this process, not a clock.

/** A point in the process's own time. */
export type Moment = number;

export interface RevocationLog {
  /** Now; taken before a tier is asked. */
  now(): Moment;
  /** A session (by token hash) or a person (by user id) has changed. */
  note(key: string): void;
  /** Everything may have changed: what was learned before now counts no more. */
  noteAll(): void;
  /** Was any of the keys noted, or everything, after this moment? */
  isRevoked(since: Moment, keys: readonly string[]): boolean;
}

const MOST_KEYS = 200_000;

/** @param mostKeys beyond which the log forgets single keys and says "everything" instead */
export function createRevocationLog(mostKeys = MOST_KEYS): RevocationLog {
  let moment = 0;
  let all = 0;
  const noted = new Map<string, Moment>();
  const noteAll = () => {
    all = ++moment;
    noted.clear();
  };
  return {
    now: () => moment,
    note(key) {
      noted.set(key, ++moment);
      if (noted.size > mostKeys) noteAll();
    },
    noteAll,
    isRevoked(since, keys) {
      if (all > since) return true;
      for (const key of keys) if ((noted.get(key) ?? 0) > since) return true;
      return false;
    },
  };
}
