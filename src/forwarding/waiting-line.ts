// Requests that wait for room at an upstream: a bounded number, for a bounded time, first come, first served.
import { GatewayError } from '../errors.ts';
import type { Target } from './target.ts';

interface Waiter {
  readonly until: number;
  readonly admit: (target: Target) => void;
  readonly refuse: (error: GatewayError) => void;
}

export class WaitingLine {
  readonly #size: number;
  readonly #longestMs: number;
  readonly #waiters = new Set<Waiter>();
  #timer: NodeJS.Timeout | null = null;
  /** Requests that were refused, since the start. */
  refused = 0;

  constructor({ size, wait }: { readonly size: number; readonly wait: number }) {
    this.#size = size;
    this.#longestMs = wait;
  }

  get length(): number {
    return this.#waiters.size;
  }

  /**
   * Resolves when the request is admitted to a target.
   *
   * @param gone aborted when nobody waits any longer
   * @throws {GatewayError} upstream-unavailable when the line is full, or it took too long
   */
  join(gone: AbortSignal): Promise<Target> {
    if (this.#waiters.size >= this.#size) return Promise.reject(this.#refusal());
    return new Promise((admit, refuse) => {
      const waiter = { until: performance.now() + this.#longestMs, admit, refuse };
      this.#waiters.add(waiter);
      gone.addEventListener('abort', () => {
        if (this.#waiters.delete(waiter)) refuse(new GatewayError('upstream-unavailable'));
      });
      this.#timer ??= this.#startTimer(this.#longestMs);
    });
  }

  /** Admits who waits longest, for as long as there is a place. */
  serve(take: () => Target | null): void {
    for (const waiter of this.#waiters) {
      const target = take();
      if (target === null) return;
      this.#waiters.delete(waiter);
      waiter.admit(target);
    }
  }

  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
    for (const { refuse } of this.#waiters) refuse(new GatewayError('upstream-unavailable'));
    this.#waiters.clear();
  }

  /** Everybody may wait equally long: it is always the first whose time is over first. */
  #refuseLate(): void {
    this.#timer = null;
    const now = performance.now();
    for (const waiter of this.#waiters) {
      if (waiter.until > now) {
        this.#timer = this.#startTimer(waiter.until - now);
        return;
      }
      this.#waiters.delete(waiter);
      waiter.refuse(this.#refusal());
    }
  }

  #startTimer(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#refuseLate(), Math.ceil(ms)).unref();
  }

  #refusal(): GatewayError {
    this.refused++;
    return new GatewayError('upstream-unavailable', {
      detail: 'The service behind the gateway has as many requests as it may have. Try again shortly.',
    });
  }
}
