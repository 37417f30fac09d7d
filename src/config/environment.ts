// Reads the environment: addresses and secrets, each secret also from the file named by NAME_FILE.
import { readFileSync } from 'node:fs';
import type { TokenKey, VersionedSecret } from '../auth/keys.ts';
import { isLoopback } from '../forwarding/upstream-options.ts';
import type { Fault } from './faults.ts';

export interface Environment {
  readonly databaseUrl: string | null;
  /** Past a connection pooler, for what needs a session of its own (migrations). */
  readonly databaseDirectUrl: string | null;
  readonly redisUrl: string | null;
  readonly secrets: readonly VersionedSecret[];
  /** The public address, without a slash at the end. */
  readonly publicUrl: string;
  readonly github: {
    readonly url: string;
    readonly apiUrl: string;
    /** Null when sign-in with GitHub OAuth is not set up; tokens still sign in. */
    readonly client: { readonly id: string; readonly secret: string } | null;
  };
  readonly tokenKeys: readonly TokenKey[];
  /** GitHub signs its webhooks with it; null when none are taken. */
  readonly webhookSecret: string | null;
  readonly host: string;
  readonly port: number;
  readonly adminHost: string;
  readonly adminPort: number;
  readonly dataDir: string;
  readonly logLevel: string;
  readonly production: boolean;
  /** Null: as the file says. */
  readonly workersGiven: number | 'auto' | null;
}

export const MOST_WORKERS = 256;

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

/** Every variable the gateway reads; `secret` ones may come from a file. The README's table is tested against it. */
export const VARIABLES = {
  DATABASE_URL: { secret: true },
  DATABASE_DIRECT_URL: { secret: true },
  REDIS_URL: { secret: true },
  BETTER_AUTH_SECRET: { secret: true },
  BETTER_AUTH_SECRETS: { secret: true },
  BETTER_AUTH_URL: { secret: false },
  GITHUB_CLIENT_ID: { secret: false },
  GITHUB_CLIENT_SECRET: { secret: true },
  GITHUB_URL: { secret: false },
  GITHUB_API_URL: { secret: false },
  GITHUB_TOKEN_KEYS: { secret: true },
  GITHUB_WEBHOOK_SECRET: { secret: true },
  HOST: { secret: false },
  PORT: { secret: false },
  ADMIN_HOST: { secret: false },
  ADMIN_PORT: { secret: false },
  GATEWAY_CONFIG: { secret: false },
  DATA_DIR: { secret: false },
  WORKERS: { secret: false },
  LOG_LEVEL: { secret: false },
  NODE_ENV: { secret: false },
} as const satisfies Record<string, { secret: boolean }>;

export type VariableName = keyof typeof VARIABLES;

/** Reads all of it and reports every fault into `faults`; what is faulty has a harmless value. */
export function readEnvironment(env: NodeJS.ProcessEnv, faults: Fault[]): Environment {
  const read = new Reader(env, faults);
  const host = read.text('HOST') ?? '127.0.0.1';
  const port = read.port('PORT', 8080);
  return {
    databaseUrl: read.url('DATABASE_URL', ['postgres:', 'postgresql:']),
    databaseDirectUrl: read.url('DATABASE_DIRECT_URL', ['postgres:', 'postgresql:']),
    redisUrl: read.url('REDIS_URL', ['redis:', 'rediss:']),
    secrets: readSecrets(read),
    publicUrl: readPublicUrl(read, host, port),
    github: readGitHub(read),
    tokenKeys: readTokenKeys(read),
    webhookSecret: readWebhookSecret(read),
    host,
    port,
    adminHost: read.text('ADMIN_HOST') ?? '127.0.0.1',
    adminPort: read.port('ADMIN_PORT', 9090),
    dataDir: read.text('DATA_DIR') ?? '.data',
    logLevel: read.oneOf('LOG_LEVEL', LOG_LEVELS, 'info'),
    production: read.text('NODE_ENV') === 'production',
    workersGiven: readWorkers(read),
  };
}

class Reader {
  readonly #env: NodeJS.ProcessEnv;
  readonly #faults: Fault[];

  constructor(env: NodeJS.ProcessEnv, faults: Fault[]) {
    this.#env = env;
    this.#faults = faults;
  }

  fault(name: VariableName, message: string): void {
    this.#faults.push({ place: `environment ${name}`, message });
  }

  /** The value, from the variable or its file; null when absent or empty. */
  text(name: VariableName): string | null {
    const direct = this.#env[name] || null;
    const file = VARIABLES[name].secret ? this.#env[`${name}_FILE`] || null : null;
    if (file === null) return direct;
    if (direct !== null) this.fault(name, `is set, and so is ${name}_FILE: keep one of them`);
    return this.#fromFile(name, file);
  }

  url(name: VariableName, protocols: readonly string[]): string | null {
    const value = this.text(name);
    if (value === null) return null;
    if (URL.canParse(value) && protocols.includes(new URL(value).protocol)) return value.replace(/\/+$/, '');
    // The value may hold a password: it is not repeated.
    this.fault(
      name,
      `must be an address that starts with ${protocols.map((each) => `${each}//`).join(' or ')}`,
    );
    return null;
  }

  port(name: VariableName, byDefault: number): number {
    const value = this.text(name) ?? String(byDefault);
    if (/^\d{1,5}$/.test(value) && Number(value) <= 65535) return Number(value);
    this.fault(name, `is ${JSON.stringify(value)}, must be a port number from 0 to 65535`);
    return byDefault;
  }

  oneOf(name: VariableName, allowed: readonly string[], byDefault: string): string {
    const value = this.text(name) ?? byDefault;
    if (allowed.includes(value)) return value;
    this.fault(name, `is ${JSON.stringify(value)}, must be one of ${allowed.join(', ')}`);
    return byDefault;
  }

  #fromFile(name: VariableName, file: string): string | null {
    try {
      return readFileSync(file, 'utf8').replace(/\r?\n$/, '') || null;
    } catch (error) {
      this.fault(name, `cannot be read from ${name}_FILE=${file} (${(error as NodeJS.ErrnoException).code})`);
      return null;
    }
  }
}

function readWorkers(read: Reader): number | 'auto' | null {
  const value = read.text('WORKERS');
  if (value === null || value === 'auto') return value;
  if (/^\d{1,3}$/.test(value) && Number(value) >= 1 && Number(value) <= MOST_WORKERS) return Number(value);
  read.fault('WORKERS', `is ${JSON.stringify(value)}, must be auto, or a number from 1 to ${MOST_WORKERS}`);
  return null;
}

const MAKE_ONE = 'make one with: npm run gateway -- secret';

function readSecrets(read: Reader): VersionedSecret[] {
  const list = read.text('BETTER_AUTH_SECRETS');
  if (list !== null) return readSecretList(read, list);
  const value = read.text('BETTER_AUTH_SECRET');
  const fault = value === null ? `is missing: ${MAKE_ONE}` : secretFault(value);
  if (fault) read.fault('BETTER_AUTH_SECRET', fault);
  return value === null ? [] : [{ version: 0, value }];
}

function readSecretList(read: Reader, list: string): VersionedSecret[] {
  const secrets: VersionedSecret[] = [];
  for (const [at, entry] of list.split(',').entries()) {
    const [, version, value = ''] = /^\s*(\d{1,9}):(.*?)\s*$/.exec(entry) ?? [];
    const fault = version === undefined ? 'must read <version>:<secret>' : secretFault(value);
    const twice = secrets.some((secret) => secret.version === Number(version));
    if (fault) read.fault('BETTER_AUTH_SECRETS', `entry ${at + 1} ${fault}`);
    else if (twice) read.fault('BETTER_AUTH_SECRETS', `entry ${at + 1} repeats version ${version}`);
    else secrets.push({ version: Number(version), value });
  }
  return secrets;
}

// Better Auth's own default.
const KNOWN_SECRETS = new Set(['better-auth-secret-12345678901234567890']);

function secretFault(value: string): string | null {
  if (value.length < 32) return `is too short, ${value.length} of at least 32 characters: ${MAKE_ONE}`;
  if (new Set(value).size < 8 || KNOWN_SECRETS.has(value)) return `is too easy to guess: ${MAKE_ONE}`;
  return null;
}

function readPublicUrl(read: Reader, host: string, port: number): string {
  const production = read.text('NODE_ENV') === 'production';
  const given = read.url('BETTER_AUTH_URL', ['http:', 'https:']);
  const assumed = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const url = new URL(given ?? assumed);
  if (given === null && (production || port === 0 || !isLoopback(url.hostname)))
    read.fault('BETTER_AUTH_URL', 'is missing: the public address, such as https://hub.example.com');
  else if (production && url.protocol === 'http:' && !isLoopback(url.hostname))
    read.fault(
      'BETTER_AUTH_URL',
      'must be https in production: cookies and tokens would travel in the clear',
    );
  if (url.pathname !== '/' || url.search || url.hash || url.username || url.password)
    read.fault('BETTER_AUTH_URL', 'must end after host and port');
  return url.origin;
}

function readGitHub(read: Reader): Environment['github'] {
  const id = read.text('GITHUB_CLIENT_ID');
  const secret = read.text('GITHUB_CLIENT_SECRET');
  if (id !== null && secret === null)
    read.fault('GITHUB_CLIENT_SECRET', 'is missing while GITHUB_CLIENT_ID is set');
  if (id === null && secret !== null)
    read.fault('GITHUB_CLIENT_ID', 'is missing while GITHUB_CLIENT_SECRET is set');
  return {
    url: readGitHubUrl(read, 'GITHUB_URL', 'https://github.com'),
    apiUrl: readGitHubUrl(read, 'GITHUB_API_URL', 'https://api.github.com'),
    client: id !== null && secret !== null ? { id, secret } : null,
  };
}

function readGitHubUrl(read: Reader, name: 'GITHUB_URL' | 'GITHUB_API_URL', byDefault: string): string {
  const value = read.url(name, ['http:', 'https:']) ?? byDefault;
  const url = new URL(value);
  if (url.protocol === 'http:' && !isLoopback(url.hostname))
    read.fault(name, 'must be https: client secrets and tokens would travel in the clear');
  if (url.username || url.password || url.search || url.hash) read.fault(name, 'must be a plain address');
  return value;
}

function readWebhookSecret(read: Reader): string | null {
  const secret = read.text('GITHUB_WEBHOOK_SECRET');
  if (secret !== null && secret.length < 16)
    read.fault(
      'GITHUB_WEBHOOK_SECRET',
      `is too short, ${secret.length} of at least 16 characters: ${MAKE_ONE}`,
    );
  return secret;
}

function readTokenKeys(read: Reader): TokenKey[] {
  const list = read.text('GITHUB_TOKEN_KEYS');
  if (list === null) return [];
  const keys: TokenKey[] = [];
  for (const [at, entry] of list.split(',').entries()) {
    const [, id, encoded = ''] = /^\s*([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/_-]+={0,2})\s*$/.exec(entry) ?? [];
    const key = Buffer.from(encoded, 'base64');
    if (id === undefined || key.length !== 32)
      read.fault('GITHUB_TOKEN_KEYS', `entry ${at + 1} must read <id>:<base64 of 32 bytes>`);
    else if (keys.some((each) => each.id === id))
      read.fault('GITHUB_TOKEN_KEYS', `entry ${at + 1} repeats the id ${id}`);
    else keys.push({ id, key });
  }
  return keys;
}
