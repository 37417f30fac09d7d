// One address of an upstream: may requests go there? Taken out of turn while its checks fail, and for a while when it
// cannot be reached; then one request tries it, and its share grows slowly.
import type { TargetConnections } from './target-connections.ts';
import { socketPathOf, type UpstreamOptions } from './upstream-options.ts';

/** `trial`: what was ejected is tried with one request. */
export type TargetState = 'up' | 'unhealthy' | 'ejected' | 'trial';

export interface TargetParts {
  readonly address: string;
  readonly options: UpstreamOptions;
  readonly connections: TargetConnections;
  /** Is there another to send to? The last one is never ejected. */
  readonly hasOther: (target: Target) => boolean;
  /** It has room for requests that wait. */
  readonly onRoom: () => void;
  /** Told once per change. */
  readonly onChange: (target: Target) => void;
}

/** What a service behind a socket takes for its own address. */
export const SOCKET_ORIGIN = 'http://localhost';
/** The part of its share that a target which is back begins with. */
const FIRST_SHARE = 0.1;

export class Target {
  /** As operators know it: scheme, host and port, or `unix:` and the path of its socket. */
  readonly name: string;
  /** Scheme, host and port, as its links begin. */
  readonly origin: string;
  /** For the Host header. */
  readonly host: string;
  readonly connections: TargetConnections;
  /** Requests under way that count: streams do not, they have limits of their own. */
  inFlight = 0;
  /** May the next request go here, if there is room? */
  isAvailable = true;
  /** Connections that failed and answers that did not come in time, since the start. */
  failures = 0;
  ejections = 0;
  readonly #parts: TargetParts;
  #isHealthy = true;
  #ejection: 'none' | 'out' | 'due' | 'tried' = 'none';
  #failuresInARow = 0;
  #ejectionsInARow = 0;
  /** `performance.now()` when it came back. */
  #backAt = Number.NEGATIVE_INFINITY;
  /** It came back not long ago. */
  #isStarting = false;
  #timer: NodeJS.Timeout | null = null;
  #told: TargetState = 'up';

  constructor(parts: TargetParts) {
    const isSocket = socketPathOf(parts.address) !== null;
    const { origin, host } = new URL(isSocket ? SOCKET_ORIGIN : parts.address);
    this.name = isSocket ? parts.address : origin;
    this.origin = origin;
    this.host = host;
    this.connections = parts.connections;
    this.#parts = parts;
  }

  get state(): TargetState {
    if (!this.#isHealthy) return 'unhealthy';
    if (this.#ejection === 'none') return 'up';
    return this.#ejection === 'out' ? 'ejected' : 'trial';
  }

  get isHealthy(): boolean {
    return this.#isHealthy;
  }

  /** Does the next request fall into its share? Soon after it came back that is less than everybody else's. */
  get hasItsTurn(): boolean {
    if (!this.#isStarting) return true;
    const grown = (performance.now() - this.#backAt) / this.#parts.options.slowStart;
    this.#isStarting = grown < 1;
    return Math.random() < Math.max(grown, FIRST_SHARE);
  }

  /** A request begins; release() ends it. */
  take(): void {
    this.inFlight++;
    if (this.#ejection !== 'due') return;
    this.#ejection = 'tried';
    this.isAvailable = false;
  }

  release(): void {
    this.inFlight--;
    // It ended without telling anything.
    if (this.#ejection === 'tried') this.#becomeDue();
    this.#parts.onRoom();
  }

  /** It has answered a request, with whatever status. */
  answered(): void {
    this.#failuresInARow = 0;
    if (this.#ejection !== 'none') this.#comeBack();
  }

  /** It could not be connected to, or did not answer in time. */
  failed(): void {
    this.failures++;
    this.#failuresInARow++;
    const { ejection } = this.#parts.options;
    if (this.#ejection === 'tried') this.#eject();
    else if (
      this.#ejection === 'none' &&
      this.#failuresInARow >= ejection.failures &&
      this.#parts.hasOther(this)
    )
      this.#eject();
  }

  /** What its checks say; see health.ts. */
  set isHealthy(isHealthy: boolean) {
    if (isHealthy === this.#isHealthy) return;
    this.#isHealthy = isHealthy;
    if (isHealthy) this.#comeBack();
    else this.#update();
  }

  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
  }

  #eject(): void {
    const { time, maxTime } = this.#parts.options.ejection;
    // Whoever stayed for longer than the longest ejection begins anew.
    const wasUp = this.#ejection === 'none';
    if (wasUp && performance.now() - this.#backAt > maxTime) this.#ejectionsInARow = 0;
    this.ejections++;
    this.#ejection = 'out';
    const ms = Math.min(time * 2 ** this.#ejectionsInARow++, maxTime);
    this.#timer = setTimeout(() => this.#becomeDue(), ms).unref();
    this.#update();
  }

  #becomeDue(): void {
    this.#ejection = 'due';
    this.#update();
  }

  #comeBack(): void {
    this.close();
    this.#ejection = 'none';
    this.#failuresInARow = 0;
    this.#backAt = performance.now();
    this.#isStarting = this.#parts.options.slowStart > 0;
    this.#update();
  }

  #update(): void {
    this.isAvailable = this.#isHealthy && (this.#ejection === 'none' || this.#ejection === 'due');
    // A trial is part of the ejection: only how it ends is worth telling.
    const told = this.state === 'trial' ? 'ejected' : this.state;
    if (told !== this.#told) this.#parts.onChange(this);
    this.#told = told;
    if (this.isAvailable) this.#parts.onRoom();
  }
}
