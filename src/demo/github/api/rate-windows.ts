const windowMs = 60 * 60 * 1000;

/** One caller's hour. `resetAt` is in epoch seconds. */
export interface RateWindow {
  limit: number;
  used: number;
  remaining: number;
  resetAt: number;
}

/**
 * Counts what each caller used of an hour's requests. It only counts: a benchmark may pass GitHub's 5000, and who wants
 * the refusal switches it on.
 */
export class RateWindows {
  readonly #now: () => number;
  readonly #used = new Map<number | null, { used: number; endsAt: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Counts a request of a person, or of somebody unknown (null). */
  spend(personId: number | null): RateWindow {
    this.#window(personId).used += 1;
    return this.look(personId);
  }

  look(personId: number | null): RateWindow {
    const { used, endsAt } = this.#window(personId);
    const limit = personId === null ? 60 : 5000;
    return { limit, used, remaining: Math.max(0, limit - used), resetAt: Math.ceil(endsAt / 1000) };
  }

  clear(): void {
    this.#used.clear();
  }

  #window(personId: number | null): { used: number; endsAt: number } {
    const now = this.#now();
    const current = this.#used.get(personId);
    if (current && now < current.endsAt) return current;
    const fresh = { used: 0, endsAt: now + windowMs };
    this.#used.set(personId, fresh);
    return fresh;
  }
}
