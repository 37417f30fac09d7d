/** The ways GitHub can be made to fail. */
export const failureKinds = [
  'rate-limit-primary',
  'rate-limit-secondary',
  'server-error',
  'hang',
  'bad-json',
  'slow',
] as const;

export type FailureKind = (typeof failureKinds)[number];

export interface FailureOptions {
  /** How many requests it hits; without it, all until `heal()`. */
  times?: number;
  /** Path without `/api/v3`: exact, or with `/**` at its end everything at and below it. Default: every path. */
  path?: string;
  /** Delay of `slow`, in milliseconds. Default 1000. */
  ms?: number;
  /** Status of `server-error` (default 502) and `rate-limit-secondary` (default 403, GitHub also uses 429). */
  status?: number;
}

export interface Failure extends FailureOptions {
  kind: FailureKind;
}

/** The failures that are switched on, oldest first. */
export class Failures {
  #active: { failure: Failure; left: number }[] = [];

  add(failure: Failure): void {
    this.#active.push({ failure, left: failure.times ?? Number.POSITIVE_INFINITY });
  }

  heal(): void {
    this.#active = [];
  }

  /** The failure a request to this path meets, used up by one. */
  next(path: string): Failure | undefined {
    const hit = this.#active.find(({ failure, left }) => left > 0 && covers(failure.path ?? '/**', path));
    if (hit) hit.left -= 1;
    return hit?.failure;
  }
}

function covers(pattern: string, path: string): boolean {
  if (!pattern.endsWith('/**')) return path === pattern;
  const folder = pattern.slice(0, -'/**'.length);
  return path === folder || path.startsWith(`${folder}/`);
}
