// Reads gateway.yaml: YAML to plain data, ${VARIABLES} filled in, and every value's place in the file.
import { type Document, isNode, isScalar, LineCounter, type Node, parseDocument, Scalar, visit } from 'yaml';
import type { Fault } from './faults.ts';

export type Path = readonly PropertyKey[];

export interface ConfigFile {
  readonly data: unknown;
  readonly faults: Fault[];
  /** `file:line:column` of the value at a path, of its nearest parent when it is missing, of a key when named. */
  place(path: Path, key?: string): string;
}

const VARIABLE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g;

/** @param name the file's name as faults should give it */
export function readConfigText(text: string, name: string, env: NodeJS.ProcessEnv): ConfigFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const placeOf = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  const faults: Fault[] = document.errors.map((error) => ({
    place: placeOf(error.pos[0]),
    message: error.message,
  }));
  visit(document, {
    Alias(_key, node) {
      if (!node.resolve(document))
        faults.push({
          place: placeOf(node.range?.[0] ?? 0),
          message: `there is no &${node.source} before it`,
        });
    },
    Scalar(_key, node) {
      const missing = substitute(node, env);
      for (const variable of missing)
        faults.push({ place: placeOf(node.range?.[0] ?? 0), message: notSet(variable) });
    },
  });
  const data = document.errors.length > 0 ? undefined : plainData(document);
  if (data === undefined && faults.length === 0)
    faults.push({
      place: placeOf(0),
      message: 'repeats itself too often by its aliases: write the values out',
    });
  return {
    data,
    faults,
    place: (path, key) => placeOf(offsetOf(document.contents, path, key)),
  };
}

/** Undefined when an alias leads nowhere, or aliases multiply to more than a configuration can be. */
function plainData(document: Document.Parsed): unknown {
  try {
    return document.toJS();
  } catch {
    return undefined;
  }
}

function substitute(node: Scalar, env: NodeJS.ProcessEnv): string[] {
  if (typeof node.value !== 'string' || !node.value.includes('${')) return [];
  const missing: string[] = [];
  const text = node.value.replace(VARIABLE, (whole, variable?: string, fallback?: string) => {
    if (variable === undefined) return whole.slice(1);
    const value = env[variable] || fallback;
    if (value === undefined) missing.push(variable);
    return value ?? '';
  });
  node.value = node.type === Scalar.PLAIN ? plainValue(text) : text;
  return missing;
}

/** An unquoted `${PORT}` is a number, as it would be if it stood there itself. */
function plainValue(text: string): string | number | boolean {
  if (/^-?\d+$/.test(text)) return Number(text);
  return text === 'true' ? true : text === 'false' ? false : text;
}

function notSet(variable: string): string {
  return `the environment variable ${variable} is not set: set it, or write \${${variable}:-default}`;
}

function offsetOf(root: Node | null, path: Path, key?: string): number {
  let node: unknown = root;
  let offset = root?.range?.[0] ?? 0;
  for (const step of path) {
    node = childOf(node, step);
    if (!isNode(node)) return offset;
    offset = node.range?.[0] ?? offset;
  }
  return key === undefined ? offset : (keyOffset(node, key) ?? offset);
}

function childOf(node: unknown, step: PropertyKey): unknown {
  const parent = node as { get?: (key: unknown, keepScalar: boolean) => unknown } | null;
  return parent?.get?.(step, true);
}

function keyOffset(node: unknown, key: string): number | undefined {
  const items = (node as { items?: { key: unknown }[] } | null)?.items ?? [];
  const pair = items.find((item) => isScalar(item.key) && item.key.value === key);
  return (pair?.key as Scalar | undefined)?.range?.[0];
}
