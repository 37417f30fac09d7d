// Cuts answers in which nothing moves, whoever is to blame: a service that says nothing, or a client that reads nothing
// and would keep its place at the service for ever. One timer looks at all of them: none is set for the many that are
// over at once.

export interface Silenceable {
  /** Of the watch's clock, when a byte last came, or the last of those that waited for the client went. */
  lastSeen: number;
  /** Longest silence, in ms. */
  readonly idleMs: number;
  onSilence(): void;
}

const LOOK_EVERY_MS = 100;

export class IdleWatch {
  /**
   * Milliseconds, as of the next look, so that nobody is cut too early. Stands still while the process does: its own
   * pauses are nobody's silence.
   */
  now = LOOK_EVERY_MS;
  readonly #open = new Set<Silenceable>();
  #lookedAt = 0;
  #timer: NodeJS.Timeout | null = null;

  add(answer: Silenceable): void {
    if (this.#timer === null) this.#start();
    answer.lastSeen = this.now;
    this.#open.add(answer);
  }

  delete(answer: Silenceable): void {
    this.#open.delete(answer);
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
    for (const answer of this.#open) {
      if (now - answer.lastSeen > answer.idleMs) answer.onSilence();
    }
  };
}
