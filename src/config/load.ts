// Joins file and environment into one frozen configuration, or reports every fault at once. No other effect.
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type * as z from 'zod';
import { isOwnPath } from '../policy/own-paths.ts';
import { type RouteOptions, routeConflicts, routeSchema } from '../policy/route-options.ts';
import { type Environment, readEnvironment } from './environment.ts';
import { ConfigError, type Fault } from './faults.ts';
import { type ConfigFile, type Path, readConfigText } from './file.ts';
import { configJsonSchema, type FileOptions, fileSchema } from './schema.ts';

export interface Workers {
  /** Processes that serve. */
  readonly workers: number;
}

export type GatewayConfig = Readonly<FileOptions & Environment & Workers>;

/**
 * @param env the process's environment; GATEWAY_CONFIG names the file
 * @throws {ConfigError} with every fault of file and environment
 */
export function loadConfig(env: NodeJS.ProcessEnv): GatewayConfig {
  const name = env.GATEWAY_CONFIG || 'config/gateway.yaml';
  const faults: Fault[] = [];
  const environment = readEnvironment(env, faults);
  const options = readFile(name, env, faults);
  const workers = countWorkers(environment, options?.server.workers ?? 1, faults);
  if (faults.length > 0 || !options) throw new ConfigError(faults);
  return deepFreeze({ ...options, ...environment, workers });
}

/** One process an embedded file: `auto` is 1 there, and more is refused. */
function countWorkers(
  { workersGiven, databaseUrl }: Environment,
  ofFile: number | 'auto',
  faults: Fault[],
): number {
  const wanted = workersGiven ?? ofFile;
  if (wanted === 'auto') return databaseUrl === null ? 1 : availableParallelism();
  if (wanted > 1 && databaseUrl === null)
    faults.push({
      place: workersGiven === null ? 'server.workers' : 'environment WORKERS',
      message: `is ${wanted}, but the embedded file is used by one process: set DATABASE_URL, or workers to 1`,
    });
  return wanted;
}

function readFile(name: string, env: NodeJS.ProcessEnv, faults: Fault[]): FileOptions | null {
  const text = readText(name, faults);
  if (text === null) return null;
  const file = readConfigText(text, name, env);
  if (file.data === null)
    file.faults.push({ place: `${name}:1:1`, message: 'is empty: it needs upstreams and routes' });
  if (file.data === undefined || file.data === null) {
    faults.push(...file.faults);
    return null;
  }
  const parsed = fileSchema.safeParse(file.data);
  const issues = parsed.success ? [] : parsed.error.issues;
  const ofSchema = issues.flatMap((issue) => issueFaults(issue, file, []));
  faults.push(...[...file.faults, ...ofSchema, ...crossFaults(file)].sort(byPlace));
  return parsed.success ? parsed.data : null;
}

/** In the order of the file, whatever found them. */
function byPlace(a: Fault, b: Fault): number {
  const [lineOfA = 0, columnOfA = 0] = a.place.split(':').slice(-2).map(Number);
  const [lineOfB = 0, columnOfB = 0] = b.place.split(':').slice(-2).map(Number);
  return lineOfA - lineOfB || columnOfA - columnOfB;
}

function readText(name: string, faults: Fault[]): string | null {
  try {
    return readFileSync(name, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    faults.push({
      place: name,
      message: `cannot be read (${code}): GATEWAY_CONFIG names the configuration file`,
    });
    return null;
  }
}

type Issue = z.core.$ZodIssue;

function issueFaults(issue: Issue, file: ConfigFile, prefix: Path): Fault[] {
  const path = [...prefix, ...issue.path];
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({ place: file.place(path, key), message: unknownKey(key, path) }));
  if (issue.code === 'invalid_union') return unionFaults(issue, file, path);
  // The key's own fault is what helps: "Invalid key in record" does not say which keys are valid.
  if (issue.code === 'invalid_key')
    return issue.issues.map(({ message }) => ({
      place: file.place(path.slice(0, -1), String(path.at(-1))),
      message: `${path.join('.')}: ${message}`,
    }));
  const subject = path.length === 0 ? 'the file' : path.join('.');
  return [{ place: file.place(path), message: `${subject}: ${issue.message}` }];
}

/** Of a union's branches, the one that was meant: its value has the right type, and only its inside is wrong. */
function unionFaults(issue: z.core.$ZodIssueInvalidUnion, file: ConfigFile, path: Path): Fault[] {
  const meant = issue.errors.find((branch) =>
    branch.some((inner) => inner.path.length > 0 || inner.code === 'unrecognized_keys'),
  );
  if (meant) return meant.flatMap((inner) => issueFaults(inner, file, path));
  const ofAccess = 'must be public, optional, session, or { scopes, roles, unknownScopes }';
  const message = path.at(-1) === 'access' ? ofAccess : issue.message;
  return [{ place: file.place(path), message: `${path.join('.')}: ${message}` }];
}

function unknownKey(key: string, path: Path): string {
  const allowed = allowedKeys(configJsonSchema(), path);
  return `${[...path, key].join('.')}: unknown key${allowed.length > 0 ? `; allowed are ${allowed.join(', ')}` : ''}`;
}

interface SchemaNode {
  properties?: Record<string, SchemaNode>;
  additionalProperties?: SchemaNode;
  items?: SchemaNode;
  anyOf?: SchemaNode[];
}

function allowedKeys(schema: SchemaNode, path: Path): string[] {
  let node: SchemaNode | undefined = schema;
  for (const step of path) node = typeof step === 'number' ? node?.items : childSchema(node, String(step));
  return Object.keys(objectBranch(node)?.properties ?? {});
}

function childSchema(node: SchemaNode | undefined, key: string): SchemaNode | undefined {
  const object = objectBranch(node);
  return object?.properties?.[key] ?? object?.additionalProperties;
}

function objectBranch(node: SchemaNode | undefined): SchemaNode | undefined {
  return node?.anyOf ? node.anyOf.find((branch) => branch.properties) : node;
}

/** What only shows when parts are held against each other; looked for even where a part is faulty by itself. */
function crossFaults(file: ConfigFile): Fault[] {
  const data: Record<string, unknown> = isRecord(file.data) ? file.data : {};
  const upstreams = Object.keys(isRecord(data.upstreams) ? data.upstreams : {});
  const written = Array.isArray(data.routes) ? data.routes : [];
  const sound = soundRoutes(written);
  return [
    ...written.flatMap((route, at) => upstreamFaults(at, route, upstreams, file)),
    ...sound.flatMap(([at, route]) => pathFaults(at, route, file)),
    ...conflictFaults(sound, file),
    ...unusedFaults(upstreams, written, file),
  ];
}

type IndexedRoute = readonly [at: number, route: RouteOptions];

function soundRoutes(routes: readonly unknown[]): IndexedRoute[] {
  return routes.flatMap((route, at) => {
    const parsed = routeSchema.safeParse(route);
    return parsed.success ? [[at, parsed.data] as const] : [];
  });
}

function upstreamFaults(at: number, route: unknown, upstreams: string[], file: ConfigFile): Fault[] {
  const name = isRecord(route) ? route.upstream : undefined;
  if (typeof name !== 'string' || upstreams.includes(name)) return [];
  const message = `there is no upstream ${name}; there is ${upstreams.join(', ') || 'none'}`;
  return [routeFault(at, 'upstream', message, file)];
}

function pathFaults(at: number, route: RouteOptions, file: ConfigFile): Fault[] {
  const faults: Fault[] = [];
  if (isOwnPath(route.path))
    faults.push(routeFault(at, 'path', 'the gateway answers this path itself', file));
  if (route.stripPrefix && !isUnder(route.path, route.stripPrefix)) {
    const message = `must be the beginning of the path ${route.path}, in whole segments`;
    faults.push(routeFault(at, 'stripPrefix', message, file));
  }
  if (route.stripPrefix && route.rewrite)
    faults.push(routeFault(at, 'rewrite', 'must not stand beside stripPrefix: it replaces it', file));
  return faults;
}

function routeFault(at: number, key: string, message: string, file: ConfigFile): Fault {
  return { place: file.place(['routes', at, key]), message: `routes.${at}.${key}: ${message}` };
}

function isUnder(path: string, prefix: string): boolean {
  return `${path}/`.toLowerCase().startsWith(`${prefix}/`.toLowerCase());
}

function conflictFaults(routes: IndexedRoute[], file: ConfigFile): Fault[] {
  return routeConflicts(routes.map(([, route]) => route)).map(({ index, message }) => {
    const at = routes[index]?.[0] ?? index;
    return { place: file.place(['routes', at, 'path']), message: `routes.${at}: ${message}` };
  });
}

function unusedFaults(names: string[], routes: readonly unknown[], file: ConfigFile): Fault[] {
  const used = new Set(routes.map((route) => (isRecord(route) ? route.upstream : undefined)));
  return names
    .filter((name) => !used.has(name))
    .map((name) => ({
      place: file.place(['upstreams'], name),
      message: `upstreams.${name}: no route names it`,
    }));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function deepFreeze<T extends object>(value: T): T {
  if (ArrayBuffer.isView(value) || Object.isFrozen(value)) return value;
  for (const inner of Object.values(value))
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner);
  return Object.freeze(value);
}
