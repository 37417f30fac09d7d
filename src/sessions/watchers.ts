// Who wants to be told when a session may have changed: streams that were opened with it.

/** @returns a function that ends the watch */
export type WatchSession = (keys: readonly string[], onChange: () => void) => () => void;

export interface Watchers {
  watch: WatchSession;
  /** A session or a person has changed. */
  noted(key: string): void;
  /** Everything may have changed. */
  notedAll(): void;
}

export function createWatchers(): Watchers {
  const byKey = new Map<string, Set<() => void>>();
  const tell = (watching: Iterable<() => void>) => {
    for (const onChange of [...watching]) onChange();
  };
  return {
    watch(keys, onChange) {
      for (const key of keys) byKey.set(key, (byKey.get(key) ?? new Set()).add(onChange));
      return () => {
        for (const key of keys) {
          const watching = byKey.get(key);
          watching?.delete(onChange);
          if (watching?.size === 0) byKey.delete(key);
        }
      };
    },
    noted(key) {
      const watching = byKey.get(key);
      if (watching) tell(watching);
    },
    notedAll() {
      tell(new Set([...byKey.values()].flatMap((watching) => [...watching])));
    },
  };
}
