/** Counts requests by method and route, such as `GET /user`; never by what a client wrote, which may hold a token. */
export class RequestCounter {
  readonly #byRoute = new Map<string, number>();

  add(route: string): void {
    this.#byRoute.set(route, this.count(route) + 1);
  }

  /** How often `route` was asked, under `/api/v3` and at the root together. */
  count(route: string): number {
    return this.#byRoute.get(route) ?? 0;
  }

  get total(): number {
    return [...this.#byRoute.values()].reduce((sum, count) => sum + count, 0);
  }

  byRoute(): Record<string, number> {
    return Object.fromEntries(this.#byRoute);
  }

  clear(): void {
    this.#byRoute.clear();
  }
}
