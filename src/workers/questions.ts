// What the supervisor asks its workers, over the channel between processes.
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import type { UpstreamReport } from '../forwarding/upstream-report.ts';
import type { MetricReading } from './readings.ts';

/** What a worker answers, by question. */
export interface Answers {
  /** What it needs, by name: `ok`, or what is wrong. */
  readiness: Record<string, string>;
  metrics: MetricReading[];
  upstreams: readonly UpstreamReport[];
}

export type Sources = { readonly [Q in keyof Answers]: () => Answers[Q] | Promise<Answers[Q]> };

export type Message =
  | { readonly kind: 'question'; readonly id: number; readonly question: keyof Answers }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: unknown }
  /** To a worker: finish what is under way, and leave. */
  | { readonly kind: 'end' }
  /** Of a worker that cannot start, in words for the operator. */
  | { readonly kind: 'failed'; readonly message: string }
  /** What a worker that leaves has counted. */
  | { readonly kind: 'counted'; readonly metrics: MetricReading[] };

/** In a worker that is just being asked. */
const ANSWER_WITHIN_MS = 2000;

let questions = 0;

/** Rejects when the worker does not answer in time, or is gone. */
export function ask<Q extends keyof Answers>(worker: Worker, question: Q): Promise<Answers[Q]> {
  const id = ++questions;
  return new Promise((resolve, reject) => {
    const settle = (done: () => void) => {
      clearTimeout(timer);
      worker.off('message', onMessage).off('exit', onExit);
      done();
    };
    const onMessage = (message: Message) => {
      if (message.kind === 'answer' && message.id === id) settle(() => resolve(message.answer as Answers[Q]));
    };
    const onExit = () => settle(() => reject(new Error('The worker has ended')));
    const timer = setTimeout(
      () => settle(() => reject(new Error('The worker does not answer'))),
      ANSWER_WITHIN_MS,
    );
    worker.on('message', onMessage).on('exit', onExit);
    tell(worker, { kind: 'question', id, question });
  });
}

/** To a worker, or from one to its supervisor. Who is gone is told nothing. */
export function tell(worker: Worker, message: Message): Promise<void> {
  return new Promise((resolve) => {
    if (!worker.isConnected()) resolve();
    else worker.send(message, () => resolve());
  });
}

/** In a worker: answers from now on. @param onEnd called when the supervisor wants it to leave */
export function answerSupervisor(sources: Sources, onEnd: () => void): void {
  const { worker } = cluster;
  worker?.on('message', async (message: Message) => {
    if (message.kind === 'end') onEnd();
    if (message.kind !== 'question') return;
    const answer = await sources[message.question]();
    void tell(worker, { kind: 'answer', id: message.id, answer });
  });
}

/** In a worker: a last word. Resolves when it is on its way. */
export async function tellSupervisor(message: Message): Promise<void> {
  if (cluster.worker) await tell(cluster.worker, message);
}

/**
 * In a worker that listens no longer: the supervisor may have handed it connections before it knew. Resolves when each of
 * them is given back, for another worker.
 */
export async function leaveSupervisor(): Promise<void> {
  const { worker } = cluster;
  if (!worker?.isConnected()) return;
  const left = once(worker, 'disconnect');
  worker.disconnect();
  await left;
}
