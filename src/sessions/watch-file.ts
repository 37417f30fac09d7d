// Hears of other writers to the embedded file: SQLite counts the changes that other connections make.
import type { DatabaseSync } from 'node:sqlite';

const EVERY_MS = 50;

/** @returns a function that ends the watch */
export function watchFile(file: DatabaseSync, onChange: () => void): () => void {
  const question = file.prepare('pragma data_version');
  const version = () => (question.get() as { data_version: number }).data_version;
  let known = version();
  const timer = setInterval(() => {
    const now = version();
    if (now === known) return;
    known = now;
    onChange();
  }, EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}
