// Results of the search for secrets: written by each test file's process, added up at the end of the run.
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Hit } from './find-secrets.ts';

export type Place = 'log' | 'output' | 'error bodies' | 'metrics' | 'redis' | 'database';

/** One text that was searched. */
export interface Searched {
  /** Of tests. */
  readonly file: string;
  readonly place: Place;
  readonly bytes: number;
  readonly hits: readonly Hit[];
  /** A store that was away: nothing of it was seen. */
  readonly isUnread: boolean;
}

export function writeSearched(folder: string, searched: Searched): void {
  appendFileSync(join(folder, `${process.pid}.jsonl`), `${JSON.stringify(searched)}\n`);
}

/** Bytes by place, what could not be read, and hits in all, beside a line for each of them. */
export function addUp(folder: string): { figures: Record<string, number>; hits: string[] } {
  const figures: Record<string, number> = {};
  const hits: string[] = [];
  const add = (name: string, n: number) => {
    figures[name] = (figures[name] ?? 0) + n;
  };
  for (const { file, place, bytes, hits: found, isUnread } of readAll(folder)) {
    add(`bytes of ${place}`, bytes);
    add('bytes', bytes);
    add('stores not read', Number(isUnread));
    for (const { kind, excerpt } of found) hits.push(`${kind} in ${place}: ${excerpt}, by ${file}`);
  }
  return { figures: { ...figures, hits: hits.length }, hits };
}

function readAll(folder: string): Searched[] {
  return readdirSync(folder).flatMap((name) =>
    readFileSync(join(folder, name), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Searched),
  );
}
