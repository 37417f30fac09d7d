// What went through, route by route, in plain numbers: while requests pass, no label is put together and nothing is
// allocated. metrics.ts turns them into what Prometheus reads.
import { METHODS } from '../policy/methods.ts';

/** Seconds; the upper bounds of a request's duration. */
export const DURATION_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

const OTHER = METHODS.length;
const METHOD_AT: ReadonlyMap<string, number> = new Map(METHODS.map((method, at) => [method, at]));
/** Codes have three digits; 0 stands for none. */
const CODES = 1000;

export interface AnswerCount {
  readonly method: string;
  readonly code: string;
  readonly count: number;
}

export interface DecisionCount {
  readonly decision: 'allow' | 'deny' | 'report';
  /** The code of the refusal, carried out or only reported; empty where there is none. */
  readonly reason: string;
  readonly count: number;
}

export class RouteTraffic {
  readonly route: string;
  /** How many took up to each bound, longer ones last; not added up. */
  readonly durations: number[] = [...DURATION_BOUNDS.map(() => 0), 0];
  seconds = 0;
  #allowed = 0;
  readonly #denied = new Map<string, number>();
  readonly #reported = new Map<string, number>();
  readonly #answers = new Map<number, number>();

  constructor(route: string) {
    this.route = route;
  }

  /** @param code of the answer; null when the client was gone before there was one */
  answered(method: string, code: number | null, seconds: number): void {
    add(this.#answers, (METHOD_AT.get(method) ?? OTHER) * CODES + (code ?? 0));
    this.seconds += seconds;
    let at = 0;
    while (at < DURATION_BOUNDS.length && seconds > (DURATION_BOUNDS[at] as number)) at++;
    (this.durations[at] as number)++;
  }

  decided(decision: DecisionCount['decision'], reason: string | null): void {
    if (decision === 'allow') this.#allowed++;
    else add(decision === 'deny' ? this.#denied : this.#reported, reason ?? '');
  }

  answers(): AnswerCount[] {
    return [...this.#answers].map(([key, count]) => ({
      method: METHODS[Math.floor(key / CODES)] ?? 'other',
      code: key % CODES === 0 ? 'none' : String(key % CODES),
      count,
    }));
  }

  decisions(): DecisionCount[] {
    const refusals = (decision: 'deny' | 'report', counts: ReadonlyMap<string, number>) =>
      [...counts].map(([reason, count]) => ({ decision, reason, count }));
    return [
      { decision: 'allow', reason: '', count: this.#allowed },
      ...refusals('deny', this.#denied),
      ...refusals('report', this.#reported),
    ];
  }
}

function add<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** Where no route was found. */
export const NO_ROUTE = 'none';

export class Traffic {
  inFlight = 0;
  /** Those of them that have become event streams or WebSockets. */
  streams = 0;
  readonly #routes = new Map<string, RouteTraffic>();

  /** @param name of a route, or the pattern of an endpoint of the gateway's own: never what a client wrote */
  on(name: string): RouteTraffic {
    const known = this.#routes.get(name);
    if (known) return known;
    const made = new RouteTraffic(name);
    this.#routes.set(name, made);
    return made;
  }

  routes(): Iterable<RouteTraffic> {
    return this.#routes.values();
  }
}
