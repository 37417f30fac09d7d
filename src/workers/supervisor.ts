// One process a core. The supervisor serves no request: it starts the workers that do, puts another in the place of one
// that dies, renews them one after the other, and ends with them.
import cluster, { type Worker } from 'node:cluster';
import type { Logger } from 'pino';
import { ask, type Message, tell } from './questions.ts';
import { addCounts, type MetricReading } from './readings.ts';

/** A worker could not start; the message is for the operator. */
export class WorkerFailed extends Error {}

/** The first wait before a worker that died is replaced; it doubles with each that dies soon. */
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 10_000;
/** Whoever lived for so long has not failed to start. */
const LIVED_MS = 10_000;
/** How long a new one may take until it can do its work, when it is to take the place of one that can. */
const READY_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 50;

/** One of the places that are always to be filled. */
interface Seat {
  worker: Worker | null;
  /** Deaths in a row, each soon after the start. */
  deaths: number;
}

export class Supervisor {
  readonly #logger: Logger;
  readonly #seats: Seat[];
  /** What each has counted when last asked. */
  readonly #counted = new Map<Worker, MetricReading[]>();
  #countedByGone: Promise<MetricReading[]> = Promise.resolve([]);
  readonly #alive = new Set<Worker>();
  #isEnding = false;
  #renewing: Promise<void> | null = null;
  /** Workers started in the place of others that died. */
  replaced = 0;

  constructor(count: number, logger: Logger) {
    this.#logger = logger;
    this.#seats = Array.from({ length: count }, () => ({ worker: null, deaths: 0 }));
  }

  /** Resolves when all of them listen. @throws {WorkerFailed} when one cannot; the others are ended */
  async start(): Promise<void> {
    try {
      await Promise.all(this.#seats.map((seat) => this.#fill(seat)));
    } catch (error) {
      this.#isEnding = true;
      for (const worker of this.#alive) worker.kill('SIGKILL');
      throw error;
    }
  }

  /** Those that listen. */
  get workers(): Worker[] {
    return this.#seats.flatMap(({ worker }) => (worker?.isConnected() ? [worker] : []));
  }

  get count(): number {
    return this.#seats.length;
  }

  /** What each worker counts, and what those that are gone have counted. */
  async metrics(): Promise<MetricReading[][]> {
    const asked = this.workers.map(async (worker) => {
      const metrics = await ask(worker, 'metrics').catch(() => this.#counted.get(worker) ?? []);
      if (this.#alive.has(worker)) this.#counted.set(worker, metrics);
      return metrics;
    });
    const readings = await Promise.all(asked);
    return [...readings, await this.#countedByGone];
  }

  /**
   * Puts a new worker in the place of each, one after the other: with the configuration as it is now, and without a
   * moment in which fewer of them serve. Stops at the first that does not get ready, and goes on with the old ones.
   */
  renew(): Promise<void> {
    this.#renewing ??= this.#renewAll().finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  /** Every worker finishes what is under way. @throws when one had to cut something */
  async close(): Promise<void> {
    this.#isEnding = true;
    const codes = await Promise.all([...this.#alive].map((worker) => end(worker)));
    if (codes.some((code) => code !== 0)) throw new Error('A worker did not end in order');
  }

  async #renewAll(): Promise<void> {
    this.#logger.info({ workers: this.count }, 'workers are renewed');
    for (const seat of this.#seats) {
      if (this.#isEnding) return;
      const next = await this.#nextFor(seat);
      if (next === null) return;
      // Another may have taken the place of the one that was there.
      const old = seat.worker;
      seat.worker = next;
      seat.deaths = 0;
      if (old) await end(old);
    }
    this.#logger.info({ workers: this.count }, 'workers are renewed: done');
  }

  async #nextFor(seat: Seat): Promise<Worker | null> {
    try {
      const next = await this.#begin();
      await this.#untilReady(next);
      return next;
    } catch (err) {
      this.#logger.error(
        { err, worker: seat.worker?.id },
        'a new worker does not get ready: the old ones go on',
      );
      return null;
    }
  }

  async #fill(seat: Seat): Promise<void> {
    const worker = await this.#begin();
    // Meanwhile the seat may have been renewed.
    if (seat.worker === null) seat.worker = worker;
    else await end(worker);
  }

  /** A worker that listens. */
  #begin(): Promise<Worker> {
    const worker = cluster.fork();
    const startedAt = performance.now();
    let failure = 'A worker ended while it started.';
    this.#alive.add(worker);
    worker.on('message', (message: Message) => {
      if (message.kind === 'failed') failure = message.message;
      if (message.kind === 'counted') this.#counted.set(worker, message.metrics);
    });
    worker.on('exit', (code, signal) => this.#onExit(worker, startedAt, code, signal));
    return new Promise((resolve, reject) => {
      worker.once('listening', () => resolve(worker));
      worker.once('exit', () => reject(new WorkerFailed(failure)));
      // Not even a process was to be had.
      worker.on('error', (cause) => {
        this.#alive.delete(worker);
        reject(new WorkerFailed(`A worker could not be started: ${cause.message}`));
      });
    });
  }

  #onExit(worker: Worker, startedAt: number, code: number | null, signal: string | null): void {
    this.#alive.delete(worker);
    const counted = this.#counted.get(worker);
    this.#counted.delete(worker);
    if (counted) this.#countedByGone = this.#countedByGone.then((before) => addCounts(before, counted));
    const seat = this.#seats.find((each) => each.worker === worker);
    if (!seat || this.#isEnding) return;
    seat.worker = null;
    if (performance.now() - startedAt > LIVED_MS) seat.deaths = 0;
    this.#logger.error({ worker: worker.id, code, signal }, 'a worker died');
    this.#replace(seat);
  }

  #replace(seat: Seat): void {
    const wait = seat.deaths === 0 ? 0 : Math.min(FIRST_WAIT_MS * 2 ** seat.deaths, LONGEST_WAIT_MS);
    seat.deaths++;
    setTimeout(() => {
      if (this.#isEnding || seat.worker !== null) return;
      this.replaced++;
      this.#fill(seat).catch((err: unknown) => {
        if (this.#isEnding) return;
        this.#logger.error({ err }, 'a worker could not be replaced yet');
        this.#replace(seat);
      });
    }, wait);
  }

  async #untilReady(worker: Worker): Promise<void> {
    for (const deadline = performance.now() + READY_WITHIN_MS; ; ) {
      const readiness = await ask(worker, 'readiness');
      if (Object.values(readiness).every((state) => state === 'ok')) return;
      if (performance.now() > deadline) {
        void end(worker);
        throw new WorkerFailed(`not ready: ${JSON.stringify(readiness)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }
}

/** @returns the exit code of a worker that was asked to leave; it sees to it itself that this does not take for ever */
function end(worker: Worker): Promise<number | null> {
  return new Promise((resolve) => {
    const { process: child } = worker;
    if (worker.isDead()) return resolve(child.exitCode);
    worker.once('exit', (code: number | null) => resolve(code));
    void tell(worker, { kind: 'end' });
    // One that is still starting does not hear yet.
    worker.once('listening', () => void tell(worker, { kind: 'end' }));
  });
}
