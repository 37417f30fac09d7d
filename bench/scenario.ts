// What is measured: a scenario is one way to be asked, put to several contenders in turn.
import type { Contender, Running, Surroundings } from './contender.ts';
import type { Round } from './measure.ts';

export interface Bench {
  readonly surroundings: Surroundings;
  readonly sizes: Sizes;
}

/** How much of everything. */
export interface Sizes {
  /** Of each scenario, unless it is content with fewer. */
  readonly rounds: number;
  /** Of scenarios that no bound rests on. */
  readonly fewRounds: number;
  /** Of one round of one contender: as many requests as it answers in that time, and at least `fewestRequests`. */
  readonly seconds: number;
  readonly fewestRequests: number;
  /** Requests that are not counted, before the first round: code is compiled as it is used. */
  readonly warmUpRequests: number;
  readonly connections: number;
  /** Sessions in the large store. */
  readonly manySessions: number;
  /** Sessions that are new to a gateway in each round. */
  readonly newSessions: number;
  readonly sessionsInTurn: number;
  readonly streams: number;
  readonly idleConnections: number;
  readonly downloads: number;
}

export const FULL: Sizes = {
  rounds: 7,
  fewRounds: 3,
  seconds: 2,
  fewestRequests: 2000,
  warmUpRequests: 8000,
  connections: 64,
  manySessions: 1_000_000,
  newSessions: 6400,
  sessionsInTurn: 10_000,
  streams: 1000,
  idleConnections: 10_000,
  downloads: 40,
};

export const QUICK: Sizes = {
  ...FULL,
  rounds: 3,
  fewRounds: 1,
  seconds: 0.6,
  warmUpRequests: 3000,
  manySessions: 100_000,
  newSessions: 1280,
  sessionsInTurn: 2560,
  downloads: 16,
};

/** One round; the 0th only warms up. */
export type MeasureRound = (running: Running, round: number) => Promise<Round>;

export interface Scenario {
  readonly name: string;
  /** In the order they are measured; what is compared stands side by side. */
  readonly contenders: readonly Contender[];
  /** Of these, when fewer than usual will do. */
  readonly rounds?: (sizes: Sizes) => number;
  /** Made ready once the contenders run. */
  readonly begin: (bench: Bench, running: ReadonlyMap<string, Running>) => Promise<MeasureRound>;
}
