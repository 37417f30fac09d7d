// Where results are kept: results/latest.json, and what is made of it.
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { charts } from './charts.ts';
import { excerpt, markdown } from './report.ts';
import type { Results } from './results.ts';

const FOLDER = new URL('results/', import.meta.url);
const LATEST = new URL('latest.json', FOLDER);
const README = new URL('../README.md', import.meta.url);
const NONE = 'No results are kept yet: `npm run bench` writes them here.';
export const BEGIN = '<!-- written by npm run bench -->';
export const END = '<!-- end of what npm run bench writes -->';

export async function writeResults(results: Results): Promise<void> {
  await mkdir(FOLDER, { recursive: true });
  await writeFile(LATEST, `${JSON.stringify(results, null, 1)}\n`);
  await writeReport(results);
}

/** Of the results that are there. */
export async function writeReport(results: Results): Promise<void> {
  const drawn = await charts(results);
  const pictures = [...drawn.keys()].map((name) => `![${name.replace('.svg', '')}](${name})`);
  await writeFile(new URL('latest.md', FOLDER), `${markdown(results)}\n\n${pictures.join('\n\n')}\n`);
  for (const [name, picture] of drawn) await writeFile(new URL(name, FOLDER), picture);
  await writeFile(README, withExcerpt(await readFile(README, 'utf8'), results));
}

/** @returns null when none are kept */
export async function readResults(): Promise<Results | null> {
  return existsSync(LATEST) ? (JSON.parse(await readFile(LATEST, 'utf8')) as Results) : null;
}

export function withExcerpt(readme: string, results: Results | null): string {
  const [before, after] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (before === -1 || after < before) throw new Error(`README.md has lost its line ${BEGIN} or ${END}`);
  return `${readme.slice(0, before + BEGIN.length)}\n\n${results ? excerpt(results) : NONE}\n\n${readme.slice(after)}`;
}
