// Which patterns cover a path? The most specific one wins, wherever it stood. Pure.
import { splitPath } from './route-options.ts';

/** What the tree has to know of what it holds. */
export interface Patterned {
  readonly pattern: string;
  readonly caseSensitive: boolean;
}

/** All that have the most specific pattern covering a path; null when none covers it. */
export type FindByPath<T> = (path: string) => readonly T[] | null;

export function createPathTree<T extends Patterned>(entries: readonly T[]): FindByPath<T> {
  const folded = buildTree(entries.filter((entry) => !entry.caseSensitive));
  const exact = buildTree(entries.filter((entry) => entry.caseSensitive));
  return (path) => {
    const byFoldedPath = mostSpecific(folded, splitPath(path.toLowerCase()));
    const byExactPath = exact && mostSpecific(exact, splitPath(path));
    return moreSpecific(byExactPath, byFoldedPath)?.entries ?? null;
  };
}

interface Node<T> {
  readonly literals: Map<string, Node<T>>;
  any: Node<T> | null;
  here: T[];
  rest: T[];
}

function buildTree<T extends Patterned>(entries: readonly T[]): Node<T> | null {
  if (entries.length === 0) return null;
  const root = emptyNode<T>();
  for (const entry of entries) add(root, entry);
  return root;
}

function add<T extends Patterned>(root: Node<T>, entry: T): void {
  let node = root;
  for (const segment of splitPath(entry.caseSensitive ? entry.pattern : entry.pattern.toLowerCase())) {
    if (segment === '**') {
      node.rest.push(entry);
      return;
    }
    if (segment === '') break;
    node = childFor(node, segment);
  }
  node.here.push(entry);
}

function childFor<T>(node: Node<T>, segment: string): Node<T> {
  if (segment === '*') {
    node.any ??= emptyNode();
    return node.any;
  }
  const child = node.literals.get(segment) ?? emptyNode<T>();
  node.literals.set(segment, child);
  return child;
}

interface Candidate<T> {
  readonly entries: readonly T[];
  /** One character a segment, smaller is more specific: literal `0`, `*` `1`, `**` `2`. */
  readonly rank: string;
}

function mostSpecific<T>(root: Node<T> | null, segments: readonly string[]): Candidate<T> | null {
  return root && descend(root, segments, 0, '');
}

function descend<T>(
  node: Node<T>,
  segments: readonly string[],
  at: number,
  rank: string,
): Candidate<T> | null {
  const segment = segments[at];
  // A single slash at the end asks for the same rule as none: /api/admin/ is governed like /api/admin.
  const ended = segment === undefined || (segment === '' && at === segments.length - 1);
  if (ended && node.here.length > 0) return { entries: node.here, rank };
  if (segment !== undefined && segment !== '') {
    const literal = node.literals.get(segment);
    const found =
      (literal && descend(literal, segments, at + 1, `${rank}0`)) ??
      (node.any && descend(node.any, segments, at + 1, `${rank}1`));
    if (found) return found;
  }
  return node.rest.length > 0 ? { entries: node.rest, rank: `${rank}2` } : null;
}

function moreSpecific<T>(exact: Candidate<T> | null, folded: Candidate<T> | null): Candidate<T> | null {
  if (!exact || !folded) return exact ?? folded;
  return exact.rank <= folded.rank ? exact : folded;
}

function emptyNode<T>(): Node<T> {
  return { literals: new Map(), any: null, here: [], rest: [] };
}
