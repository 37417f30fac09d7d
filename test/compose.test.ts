// docker-compose.yml, Dockerfile and .dockerignore against the code they start: no engine is needed.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { VARIABLES } from '../src/config/environment.ts';
import { loadConfig } from '../src/config/load.ts';

interface Service {
  readonly image: string;
  readonly build?: string;
  readonly command?: string[];
  readonly user?: string;
  readonly environment?: Record<string, string>;
  readonly ports?: string[];
  readonly volumes?: string[];
  readonly networks?: string[];
  readonly depends_on?: Record<string, { condition: string }>;
  readonly healthcheck?: { test?: string[]; disable?: boolean };
  readonly restart: string;
  readonly read_only: boolean;
  readonly cap_drop: string[];
  readonly security_opt: string[];
}

const COMPOSE_FILE = 'docker-compose.yml';
const SECRETS = {
  BETTER_AUTH_SECRET: '0123456789abcdefghijklmnopqrstuv',
  POSTGRES_PASSWORD: 'postgresPassword',
  REDIS_PASSWORD: 'redisPassword',
};

const text = readFileSync(COMPOSE_FILE, 'utf8');
const compose: { services: Record<string, Service>; networks: object; volumes: object } = parse(
  interpolate(text, SECRETS),
  { merge: true },
);
const services = Object.entries(compose.services);
const dockerfile = instructions(readFileSync('Dockerfile', 'utf8'));
const imageEnvironment = Object.fromEntries(
  argumentsOf('ENV').flatMap((line) => line.split(/\s+/).map((pair) => pair.split('='))),
);

describe('docker-compose.yml', () => {
  it('asks for exactly the secrets its header names', () => {
    const required = new Set([...text.matchAll(/\$\{(\w+):\?/g)].map(([, name]) => name));
    expect([...required].sort()).toEqual(Object.keys(SECRETS).sort());
    for (const name of required) expect(text.slice(0, text.indexOf('x-hardened'))).toContain(`${name}=`);
  });

  it.each(['gateway', 'migrate'])('gives %s only variables the gateway reads', (name) => {
    const given = Object.keys(service(name).environment ?? {});
    expect([...given, ...Object.keys(imageEnvironment)].filter((variable) => !isKnown(variable))).toEqual([]);
  });

  it.each(['gateway', 'migrate'])('gives %s a configuration that loads', (name) => {
    const config = loadConfig({ ...imageEnvironment, ...service(name).environment });
    expect(config).toMatchObject({
      databaseUrl: `postgres://gateway:${SECRETS.POSTGRES_PASSWORD}@postgres:5432/gateway`,
      redisUrl: `redis://:${SECRETS.REDIS_PASSWORD}@redis:6379`,
      publicUrl: 'http://127.0.0.1:8080',
      host: '0.0.0.0',
      adminHost: '127.0.0.1',
    });
    expect(config.upstreams.hub?.targets).toEqual([`http://api:${service('api').environment?.PORT}`]);
  });

  it('has the routes of the gateway outside containers', () => {
    const routesOf = (file: string) => parse(readFileSync(file, 'utf8')).routes;
    expect(routesOf('config/compose.yaml')).toEqual(routesOf('config/gateway.yaml'));
  });

  it.each(services)('knows when %s is well, or that it ends', (name, { healthcheck, restart }) => {
    if (!healthcheck?.disable) return expect(healthcheck?.test?.length).toBeGreaterThan(1);
    expect(restart).toBe('no');
    expect(services.map(([, each]) => each.depends_on?.[name]?.condition)).toContain(
      'service_completed_successfully',
    );
  });

  it.each(services)('lets %s wait for services that can be waited for', (_name, { depends_on = {} }) => {
    for (const [other, { condition }] of Object.entries(depends_on))
      expect(condition).toBe(
        service(other).healthcheck?.disable ? 'service_completed_successfully' : 'service_healthy',
      );
  });

  it.each(services)('names only files, volumes and networks that exist for %s', (_name, each) => {
    for (const [source = ''] of (each.volumes ?? []).map((volume) => volume.split(':')))
      expect(source.startsWith('.') ? existsSync(source) : source in compose.volumes, source).toBe(true);
    for (const network of each.networks ?? [])
      expect(network === 'default' || network in compose.networks, network).toBe(true);
  });

  it.each(services.filter(([, each]) => each.build))('starts %s with a command of the CLI', (_name, each) => {
    const [node, file = '', command] = each.command ?? execForm('CMD');
    expect(node).toBe('node');
    expect(readFileSync(file, 'utf8')).toContain(`.command('${command}'`);
  });

  it.each(services)('confines %s', (_name, each) => {
    expect(each).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    });
    if (each.build) return;
    expect(each.user).toMatch(/^(?!root|0)./);
    expect(each.image).toMatch(/:\d/);
  });

  it('publishes the main port alone, to this machine', () => {
    expect(services.flatMap(([name, { ports = [] }]) => ports.map((port) => [name, port]))).toEqual([
      ['gateway', '127.0.0.1:8080:8080'],
    ]);
  });

  it('keeps the stores away from the API', () => {
    expect(service('api').networks ?? ['default']).toEqual(['default']);
    expect(service('postgres').networks).toEqual(['stores']);
    expect(service('redis').networks).toEqual(['stores']);
    expect(compose.networks).toEqual({ stores: { internal: true } });
  });
});

const program = [['docker-compose'], ['docker', 'compose']].find(
  ([command = '', ...rest]) => spawnSync(command, [...rest, 'version']).status === 0,
);

describe.skipIf(!program)('docker-compose itself', () => {
  it('accepts the file', () => {
    expect(check(SECRETS)).toEqual({ status: 0, stderr: '' });
  });

  it.each(Object.keys(SECRETS))('says that %s is missing', (name) => {
    const { status, stderr } = check({ ...SECRETS, [name]: '' });
    expect(status).not.toBe(0);
    expect(stderr).toContain(`${name} is missing in .env`);
  });
});

describe('Dockerfile', () => {
  it('runs a file of the image with node itself, so that signals arrive', () => {
    const [node, file = ''] = execForm('CMD');
    expect(node).toBe('node');
    expect(existsSync(file)).toBe(true);
    expect(argumentsOf('STOPSIGNAL')).toEqual(['SIGTERM']);
  });

  it('does not run as root, and says so by number', () => {
    expect(argumentsOf('USER').at(-1)).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  });

  it('starts from the Node the package wants', () => {
    const { engines } = JSON.parse(readFileSync('package.json', 'utf8'));
    expect(`>=${argumentsOf('ARG')[0]?.split('=')[1]}`).toBe(engines.node);
    for (const from of argumentsOf('FROM')) expect(from).toMatch(/^node:\$\{NODE_VERSION\}-/);
  });

  it('copies what .dockerignore lets through, and exists', () => {
    const [, ...lines] = readFileSync('.dockerignore', 'utf8').split('\n').filter(Boolean);
    expect(lines[0]).toBe('*');
    const passed = lines.slice(1).map((line) => line.replace(/^!/, '').split('/')[0]);
    const copied = argumentsOf('COPY')
      .filter((line) => !line.startsWith('--from'))
      .flatMap((line) => line.split(/\s+/).slice(0, -1));
    expect([...new Set(copied)].sort()).toEqual([...new Set(passed)].sort());
    for (const source of copied) expect(existsSync(source), source).toBe(true);
  });

  it('opens the ports it listens on', () => {
    expect(argumentsOf('EXPOSE')).toEqual([`${imageEnvironment.PORT} ${imageEnvironment.ADMIN_PORT}`]);
  });
});

function service(name: string): Service {
  const found = compose.services[name];
  if (!found) throw new Error(`There is no service ${name}`);
  return found;
}

function isKnown(variable: string): boolean {
  const known: Record<string, { secret: boolean }> = VARIABLES;
  return variable in known || known[variable.replace(/_FILE$/, '')]?.secret === true;
}

/** The forms of substitution the file uses: ${NAME:-default} and ${NAME:?message}. */
function interpolate(source: string, env: Record<string, string>): string {
  return source.replace(
    /\$\{(\w+):([-?])([^}]*)\}/g,
    (_whole, name: string, kind: string, rest: string) => env[name] ?? (kind === '-' ? rest : ''),
  );
}

function check(env: Record<string, string>): { status: number | null; stderr: string } {
  const [command = '', ...rest] = program ?? [];
  // What is set here, if only to nothing, comes before a developer's own .env.
  const { status, stderr } = spawnSync(command, [...rest, '-f', COMPOSE_FILE, 'config', '-q'], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  });
  return { status, stderr };
}

/** Instructions of a Dockerfile with their arguments, continued lines joined. */
function instructions(source: string): [name: string, rest: string][] {
  return source
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line && !line.startsWith('#'))
    .map((line) => [line.split(' ', 1)[0] ?? '', line.slice(line.indexOf(' ') + 1)]);
}

function argumentsOf(instruction: string): string[] {
  return dockerfile.filter(([name]) => name === instruction).map(([, rest]) => rest);
}

function execForm(instruction: string): string[] {
  return JSON.parse(argumentsOf(instruction).at(-1) ?? '[]');
}
