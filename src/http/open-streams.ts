// Answers and WebSockets that stay open: each ends when its session no longer opens its route, and all of them when the
// gateway ends. They are counted, so that nobody can hold more than their share.
import { ERRORS, GatewayError } from '../errors.ts';
import type { Goodbye, StreamKind } from '../forwarding/streams.ts';
import { type DenyCode, decide, liveSession } from '../policy/decide.ts';
import type { Route } from '../policy/route.ts';
import type { LookUpSession, Session } from '../policy/session.ts';

/** Why a stream is ended: the code of a refusal, or the gateway's own end. */
type EndReason = DenyCode | 'gateway-ending';

export interface OpenStream {
  readonly kind: StreamKind;
  /** Null for callers the upstream was told nothing of: only the gateway's own end ends theirs. */
  readonly session: Session | null;
  readonly cookieHeader: string | undefined;
  readonly route: Route;
  /** Could it only read? */
  readonly safeMethod: boolean;
  readonly end: (goodbye: Goodbye) => void;
}

export interface StreamLimits {
  /** Streams one person may have open at a time. */
  readonly perPerson: number;
  /** Streams the process keeps open. */
  readonly total: number;
}

export interface OpenStreamParts {
  readonly lookUp: LookUpSession;
  /** Tells when a session may have changed; ends with the returned function. */
  readonly watch: (session: Session, cookieHeader: string | undefined, onChange: () => void) => () => void;
  /** Gives a session that is used a longer life when it is due. */
  readonly extend: (session: Session, cookieHeader: string | undefined) => unknown;
  readonly limits: StreamLimits;
}

export interface OpenStreams {
  /** @throws {GatewayError} rate-limited, overloaded: what {@link open} would throw now */
  refuseBeyondLimits(stream: Pick<OpenStream, 'session' | 'route'>): void;
  /**
   * Keeps an eye on the stream's session, and counts it in unless it is merely a long answer.
   *
   * @returns a function to be called when it is over
   * @throws {GatewayError} rate-limited, overloaded
   */
  open(stream: OpenStream): () => void;
  /** Ends every stream, with the gateway; long answers may come to their own end. */
  endAll(): void;
}

/** A change comes in several notes: they are looked into together. */
const SETTLE_MS = 10;
/** How often a store that does not answer is asked about a stream, and how soon again. */
const MOST_TRIES = 4;
const RETRY_MS = 250;
/** So many streams are looked into at a time: after a gap in hearing it is all of them. */
const MOST_AT_ONCE = 20;
const SWEEP_MS = 500;

export function createOpenStreams(parts: OpenStreamParts): OpenStreams {
  const open = new Set<Watched>();
  const counts = new Counts(parts.limits);
  const check = inTurn(MOST_AT_ONCE, (watched: Watched) => watched.check());
  let sweeping: NodeJS.Timeout | null = null;
  let isEnding = false;
  const sweep = () => {
    const now = Date.now();
    for (const watched of open) watched.look(now);
  };
  const refuseBeyondLimits: OpenStreams['refuseBeyondLimits'] = (stream) => {
    if (isEnding) throw new GatewayError('overloaded', { detail: 'This gateway is ending. Connect again.' });
    counts.refuseBeyond(stream);
  };
  return {
    refuseBeyondLimits,
    open(stream) {
      const isCounted = stream.kind !== 'long';
      if (isCounted) {
        refuseBeyondLimits(stream);
        counts.change(stream, 1);
      }
      const watched = new Watched(stream, parts, check);
      open.add(watched);
      // Most long answers are over before the next look.
      if (isCounted) watched.begin();
      sweeping ??= setInterval(sweep, SWEEP_MS).unref();
      let isOpen = true;
      return () => {
        if (!isOpen) return;
        isOpen = false;
        open.delete(watched);
        watched.forget();
        if (isCounted) counts.change(stream, -1);
        if (open.size > 0 || sweeping === null) return;
        clearInterval(sweeping);
        sweeping = null;
      };
    },
    endAll() {
      isEnding = true;
      for (const watched of [...open]) if (watched.stream.kind !== 'long') watched.end('gateway-ending');
    },
  };
}

/** Close codes: RFC 6455 for the gateway's own state, and those of applications after the status of the refusal. */
function goodbye(reason: EndReason): Goodbye {
  if (reason === 'gateway-ending') return { code: 1001, reason };
  const { status } = ERRORS[reason];
  return { code: status === 401 ? 4401 : status === 403 ? 4403 : 1013, reason };
}

class Watched {
  readonly stream: OpenStream;
  readonly #parts: OpenStreamParts;
  readonly #check: (watched: Watched) => void;
  /** As last seen; null when there is nothing to look after, or not any longer. */
  #session: Session | null;
  #unwatch: (() => void) | null = null;
  #waiting: NodeJS.Timeout | null = null;
  #tries = 0;
  #hasEnded = false;

  constructor(stream: OpenStream, parts: OpenStreamParts, check: (watched: Watched) => void) {
    this.stream = stream;
    this.#parts = parts;
    this.#check = check;
    this.#session = stream.session;
  }

  /** From here on changes are heard. Those since the request was judged were not: its upstream may have taken its time. */
  begin(): void {
    if (this.#session === null) return;
    this.#unwatch = this.#parts.watch(this.#session, this.stream.cookieHeader, () =>
      this.#checkIn(SETTLE_MS),
    );
    this.#check(this);
  }

  /** Has its session run out? One whose time is only getting short is given a longer life on the way. */
  look(now: number): void {
    if (this.#session === null) return;
    if (this.#unwatch === null) this.begin();
    else if (this.#session.expiresAt <= now) this.#check(this);
    else this.#parts.extend(this.#session, this.stream.cookieHeader);
  }

  /** Asks again who this is and what they may; ends the stream when the answer is no longer the one it was opened with. */
  async check(): Promise<void> {
    const { route, safeMethod, cookieHeader, session: opened } = this.stream;
    if (this.#session === null || opened === null) return;
    const lookup = await this.#parts.lookUp(cookieHeader);
    if (this.#session === null) return;
    if (lookup.outcome === 'failed' && ++this.#tries < MOST_TRIES) return this.#checkIn(RETRY_MS);
    this.#tries = 0;
    const now = Date.now();
    const decision = decide({ access: route.access, lookup, crossSite: false, safeMethod, now });
    const live = liveSession(lookup, now);
    if (!decision.allow && !(route.reportOnly && live)) this.end(decision.code);
    else if (live?.id !== opened.id) this.end('session-expired');
    else this.#session = live;
  }

  end(reason: EndReason): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.forget();
    this.stream.end(goodbye(reason));
  }

  forget(): void {
    this.#session = null;
    this.#unwatch?.();
    if (this.#waiting) clearTimeout(this.#waiting);
  }

  #checkIn(ms: number): void {
    this.#waiting ??= setTimeout(() => {
      this.#waiting = null;
      this.#check(this);
    }, ms);
  }
}

class Counts {
  readonly #limits: StreamLimits;
  readonly #people = new Map<string, number>();
  readonly #routes = new Map<Route, number>();
  #total = 0;

  constructor(limits: StreamLimits) {
    this.#limits = limits;
  }

  refuseBeyond({ session, route }: Pick<OpenStream, 'session' | 'route'>): void {
    const ofPerson = session === null ? 0 : (this.#people.get(session.userId) ?? 0);
    const ofRoute = this.#routes.get(route) ?? 0;
    if (this.#total >= this.#limits.total || ofRoute >= route.maxStreams)
      throw new GatewayError('overloaded', { detail: 'Too many streams are open here. Try again shortly.' });
    if (ofPerson >= this.#limits.perPerson)
      throw new GatewayError('rate-limited', {
        detail: 'You have too many streams open. Close one, then try again.',
        retryAfterSeconds: 1,
      });
  }

  change({ session, route }: OpenStream, by: 1 | -1): void {
    this.#total += by;
    changeCount(this.#routes, route, by);
    if (session !== null) changeCount(this.#people, session.userId, by);
  }
}

function changeCount<T>(counts: Map<T, number>, key: T, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}

/** Runs so many at a time; the others wait for their turn. An item that waits already does not wait twice. */
function inTurn<T>(mostAtOnce: number, work: (item: T) => Promise<void>): (item: T) => void {
  const waiting = new Set<T>();
  let running = 0;
  const next = () => {
    for (const item of waiting) {
      if (running >= mostAtOnce) return;
      waiting.delete(item);
      running++;
      work(item)
        .catch(() => {})
        .finally(() => {
          running--;
          next();
        });
    }
  };
  return (item) => {
    waiting.add(item);
    next();
  };
}
