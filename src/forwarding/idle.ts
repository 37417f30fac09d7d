// Cuts answers that have fallen silent. One timer looks at all of them: none is set for the many that are over at once.

export interface Silenceable {
  /** Of the watch's clock, when a byte was last seen. */
  lastSeen: number;
  /** Longest silence, in ms. */
  readonly idleMs: number;
  /** Is it the client that keeps the answer waiting? Then its silence is not the upstream's. */
  readonly isHeldBack: boolean;
  onSilence(): void;
}

const LOOK_EVERY_MS = 100;

export class IdleWatch {
  /** Milliseconds, as of the last look. Stands still while the process does: its own pauses are nobody's silence. */
  now = 0;
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
    for (const answer of this.#open) {
      if (answer.isHeldBack) answer.lastSeen = this.now;
      else if (this.now - answer.lastSeen > answer.idleMs) answer.onSilence();
    }
  };
}
