// What has been revoked, and when: the memory that keeps an answer asked for before a revocation from being believed
// after it. Time is a counter of this process, not a clock; only what other processes have dated is held against one.

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
  /** Everything has changed: what was learned before now counts no more. */
  noteAll(): void;
  /** Changes may have been missed: what was learned before now must be asked for again, and counts only if it cannot be. */
  noteGap(): void;
  /** Was any of the keys noted, or everything, after this moment; or is one being revoked right now? */
  isRevoked(since: Moment, keys: readonly string[]): boolean;
  /** As isRevoked, for what was learned elsewhere at a time of the clock, in epoch milliseconds. */
  isRevokedAfter(time: number, keys: readonly string[]): boolean;
  /** As isRevoked; or may a change have been missed after this moment? */
  isDoubtful(since: Moment, keys: readonly string[]): boolean;
  /** As isDoubtful, by the clock; and whatever was learned before the process began is in doubt. */
  isDoubtfulAfter(time: number, keys: readonly string[]): boolean;
}

interface Note {
  readonly moment: Moment;
  /** Epoch milliseconds. */
  readonly at: number;
}

const MOST_KEYS = 200_000;

export interface RevocationLogOptions {
  /** Beyond which the log forgets single keys and says "everything" instead. */
  readonly mostKeys?: number;
  /** Epoch milliseconds. */
  readonly clock?: () => number;
  /** Told of every note as it is made. */
  readonly onNote?: (key: string) => void;
  /** Told of notes of everything, and of gaps. */
  readonly onNoteAll?: () => void;
}

export function createRevocationLog(options: RevocationLogOptions = {}): RevocationLog {
  const { mostKeys = MOST_KEYS, clock = Date.now, onNote, onNoteAll } = options;
  let moment = 0;
  let all: Note = { moment: 0, at: Number.NEGATIVE_INFINITY };
  let gap: Note = { moment: 0, at: clock() };
  const noted = new Map<string, Note>();
  // How many revocations of a key are under way.
  const pending = new Map<string, number>();
  const noteAll = () => {
    all = { moment: ++moment, at: clock() };
    gap = all;
    noted.clear();
    onNoteAll?.();
  };
  const note = (key: string, at = clock()) => {
    noted.set(key, { moment: ++moment, at });
    if (noted.size > mostKeys) noteAll();
    else onNote?.(key);
  };
  const isRevoked = (since: Moment, keys: readonly string[]) => {
    if (all.moment > since) return true;
    for (const key of keys) if ((noted.get(key)?.moment ?? 0) > since) return true;
    return isPending(keys);
  };
  const isRevokedAfter = (time: number, keys: readonly string[]) => {
    if (all.at > time) return true;
    for (const key of keys) if ((noted.get(key)?.at ?? Number.NEGATIVE_INFINITY) > time) return true;
    return isPending(keys);
  };
  const isPending = (keys: readonly string[]) => pending.size > 0 && keys.some((key) => pending.has(key));
  return {
    now: () => moment,
    note: (key) => note(key),
    begin(key) {
      pending.set(key, (pending.get(key) ?? 0) + 1);
      note(key);
    },
    end(key) {
      const left = (pending.get(key) ?? 1) - 1;
      if (left > 0) pending.set(key, left);
      else pending.delete(key);
      // It was revoked when that began; what has been learned since by asking the store is true.
      note(key, noted.get(key)?.at);
    },
    noteAll,
    noteGap() {
      gap = { moment: ++moment, at: clock() };
      onNoteAll?.();
    },
    isRevoked,
    isDoubtful: (since, keys) => gap.moment > since || isRevoked(since, keys),
    isRevokedAfter,
    isDoubtfulAfter: (time, keys) => gap.at >= time || isRevokedAfter(time, keys),
  };
}
