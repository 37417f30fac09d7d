// What has been revoked, and when: the memory that keeps an answer asked for before a revocation from being believed
// after it. Time is a counter of this process, not a clock.

/** A point in the process's own time. */
export type Moment = number;

export interface RevocationLog {
  /** Now; taken before a tier is asked. */
  now(): Moment;
  /** A session (by token hash) or a person (by user id) has changed. */
  note(key: string): void;
  /** As note, but goes on until end(key): what is asked for meanwhile may still be answered from old copies. */
  begin(key: string): void;
  end(key: string): void;
  /** Everything may have changed: what was learned before now counts no more. */
  noteAll(): void;
  /** Was any of the keys noted, or everything, after this moment; or is one being revoked right now? */
  isRevoked(since: Moment, keys: readonly string[]): boolean;
}

const MOST_KEYS = 200_000;

/** @param mostKeys beyond which the log forgets single keys and says "everything" instead */
export function createRevocationLog(mostKeys = MOST_KEYS): RevocationLog {
  let moment = 0;
  let all = 0;
  const noted = new Map<string, Moment>();
  // How many revocations of a key are under way.
  const pending = new Map<string, number>();
  const noteAll = () => {
    all = ++moment;
    noted.clear();
  };
  const note = (key: string) => {
    noted.set(key, ++moment);
    if (noted.size > mostKeys) noteAll();
  };
  return {
    now: () => moment,
    note,
    begin(key) {
      pending.set(key, (pending.get(key) ?? 0) + 1);
      note(key);
    },
    end(key) {
      const left = (pending.get(key) ?? 1) - 1;
      if (left > 0) pending.set(key, left);
      else pending.delete(key);
      note(key);
    },
    noteAll,
    isRevoked(since, keys) {
      if (all > since) return true;
      for (const key of keys)
        if ((noted.get(key) ?? 0) > since || (pending.size > 0 && pending.has(key))) return true;
      return false;
    },
  };
}
