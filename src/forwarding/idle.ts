// Cuts answers in which nothing moves, whoever is to blame: a service that says nothing, or a client that reads nothing
// and would keep its place at the service for ever. One timer looks at all of them: none is set for the many that are
// over at once.

export interface Silenceable {
  /** Of the watch's clock, when a byte last came, or the last of those that waited for the client went. */
  lastSeen: number;
  /** Longest silence, in ms. */
  readonly idleMs: number;
  /** Where the watch keeps it; -1 while it does not. */
  place: number;
  onSilence(): void;
}

const LOOK_EVERY_MS = 100;

export class IdleWatch {
  /** Milliseconds, as of the last look. Stands still while the process does: its own pauses are nobody's silence. */
  now = 0;
  /**
   * In no order. Not a Set: the tables that one outgrows are linked, each to the next, and what stood in them would be
   * carried along by the garbage collector, request by request.
   */
  readonly #open: Silenceable[] = [];
  #lookedAt = 0;
  #timer: NodeJS.Timeout | null = null;

  add(answer: Silenceable): void {
    if (this.#timer === null) this.#start();
    answer.lastSeen = this.now;
    if (answer.place === -1) answer.place = this.#open.push(answer) - 1;
  }

  delete(answer: Silenceable): void {
    if (answer.place === -1) return;
    const last = this.#open.pop() as Silenceable;
    if (last !== answer) this.#open[answer.place] = last;
    last.place = answer.place;
    answer.place = -1;
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
    // Whoever is cut leaves, and another may take its place.
    for (const answer of [...this.#open]) {
      if (this.now - answer.lastSeen > answer.idleMs) answer.onSilence();
    }
  };
}
