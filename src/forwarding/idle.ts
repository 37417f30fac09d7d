// Cuts answers in which nothing moves, whoever is to blame: a service that says nothing, or a client that reads nothing
// and would keep its place at the service for ever. One timer looks at all of them: none is set for the many that are
// over at once.

export interface Silenceable {
  /** Of the watch's clock, when a byte last came, or the last of those that waited for the client went. */
  lastSeen: number;
  /** Longest silence, in ms. */
  readonly idleMs: number;
  /** Kept by the watch: its place among those that are watched, -1 while it is none of them. */
  watchedAt: number;
  onSilence(): void;
}

const LOOK_EVERY_MS = 100;

export class IdleWatch {
  /**
   * Milliseconds, as of the next look, so that nobody is cut too early. Stands still while the process does: its own
   * pauses are nobody's silence.
   */
  now = LOOK_EVERY_MS;
  /**
   * No Set: V8 remakes the table of a Set that is added to and deleted from all the time, and each old table leads to
   * the next, so that whoever was in one of them outlives many collections. A fifth of a request was spent on that.
   */
  readonly #open: Silenceable[] = [];
  #lookedAt = 0;
  #timer: NodeJS.Timeout | null = null;

  add(answer: Silenceable): void {
    if (this.#timer === null) this.#start();
    answer.lastSeen = this.now;
    if (answer.watchedAt === -1) answer.watchedAt = this.#open.push(answer) - 1;
  }

  delete(answer: Silenceable): void {
    const at = answer.watchedAt;
    if (at === -1) return;
    answer.watchedAt = -1;
    const last = this.#open.pop() as Silenceable;
    if (last === answer) return;
    this.#open[at] = last;
    last.watchedAt = at;
  }

  close(): void {
    if (this.#timer) clearInterval(this.#timer);
  }

  #start(): void {
    this.#lookedAt = performance.now();
    this.#timer = setInterval(this.#look, LOOK_EVERY_MS).unref();
  }

  #look = (): void => {
    const at = performance.now();
    this.now += Math.min(at - this.#lookedAt, 2 * LOOK_EVERY_MS);
    this.#lookedAt = at;
    const now = this.now - LOOK_EVERY_MS;
    // From the last to the first: whoever is cut leaves, and the last takes the place.
    for (let at = this.#open.length - 1; at >= 0; at--) {
      const answer = this.#open[at];
      if (answer !== undefined && now - answer.lastSeen > answer.idleMs) answer.onSilence();
    }
  };
}
