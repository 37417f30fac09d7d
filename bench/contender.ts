// What the bench knows of whoever is measured.

export interface Running {
  /** Where requests go, without a path. */
  readonly url: string;
  /** The processes that belong to it; their children are theirs. */
  readonly pids: readonly number[];
  /** Cookie headers of sessions it knows; one of nobody's if it knows none. */
  readonly cookie: string;
  /** So many of its processes share the requests; one unless given. */
  readonly workers?: number;
  /** Cookie headers of sessions in its store, from the n-th on. */
  readonly cookies?: (from: number, count: number) => Promise<string[]>;
  /** Where the same sessions are asked for so that the stores the contender shares with it know them. */
  readonly neighbourUrl?: string;
}

export interface Contender {
  readonly name: string;
  /** A line that says what to install; null where it can run. */
  readonly missing?: () => string | null;
  /** It may refuse to start; the bench then says why and goes on. */
  readonly mayRefuse?: boolean;
  readonly start: (surroundings: Surroundings) => Promise<Running>;
}

/** What contenders stand on: made when first asked for, shared by all, ended with the bench. */
export interface Surroundings {
  readonly upstreamUrl: string;
  readonly opened: AsyncDisposableStack;
  /** Sessions in the large store. */
  readonly manySessions: number;
  /** The URL of an empty database. */
  readonly database: () => Promise<string>;
  /** The URL of an empty Redis. */
  readonly redis: () => Promise<string>;
  /** Root processes of the stores started so far. */
  readonly storePids: () => number[];
  readonly folder: (name: string) => Promise<string>;
  /** Makes what several contenders share when the first of them asks for it. */
  readonly once: <T>(name: string, make: () => Promise<T>) => Promise<T>;
}
