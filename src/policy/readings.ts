// What may servers take a path with `%2f` or `;` in it for? Pure.

/** A target that is sent only where a route opts in, and only if every reading leads to that route. */
export interface Ambiguity {
  /** Why it is refused everywhere else. */
  readonly reason: 'encoded-slash' | 'path-parameter';
  readonly encodedSlash: boolean;
  readonly pathParameter: boolean;
  /** Paths as rules are matched against them, the plain one first. */
  readonly readings: readonly string[];
}

const ENCODED_SLASH = /%2f/gi;
const SEMICOLON = /;|%3b/gi;

/** The path with what a route may opt in to replaced by a letter: what else is wrong with it shows on this one. */
export function withoutOptIns(path: string): string {
  return path.replace(ENCODED_SLASH, 'x').replace(SEMICOLON, 'x');
}

/** @param matchPath decoded but for `%2f` and `%3b` */
export function ambiguityOf(matchPath: string, reason: Ambiguity['reason']): Ambiguity {
  return {
    reason,
    encodedSlash: /%2f/i.test(matchPath),
    pathParameter: /;|%3b/i.test(matchPath),
    readings: readingsOf(matchPath),
  };
}

/**
 * Encoded slashes are kept or decoded; parameters are kept, dropped up to the next slash (RFC 3986 section 3.3, as
 * servlet containers do), or taken for the beginning of a query (find-my-way's useSemicolonDelimiter); in either order.
 */
function readingsOf(path: string): string[] {
  const decoded = path.replace(ENCODED_SLASH, '/');
  const read = [path, decoded].flatMap((each) => [each, ...PARAMETERS.map((drop) => drop(each))]);
  return [...new Set([...read, ...read.map((each) => each.replace(ENCODED_SLASH, '/'))])];
}

const PARAMETERS: readonly ((path: string) => string)[] = [
  (path) => path.replace(/;[^/]*/g, ''),
  (path) => path.replace(/(?:;|%3b)[^/]*/gi, ''),
  (path) => path.replace(/;.*/, ''),
  (path) => path.replace(/(?:;|%3b).*/i, ''),
];
