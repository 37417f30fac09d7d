import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  type Environment,
  readEnvironment,
  VARIABLES,
  type VariableName,
} from '../../src/config/environment.ts';
import type { Fault } from '../../src/config/faults.ts';
import { ConfigFolder, SECRET } from './config-folder.ts';

const OTHER_SECRET = 'Zx9-4kQw_1vBn7MtRe6UyI3oPa5SdF2g';
const KEY = randomBytes(32).toString('base64');

function read(env: Record<string, string>): { environment: Environment; faults: Fault[] } {
  const faults: Fault[] = [];
  const environment = readEnvironment({ BETTER_AUTH_SECRET: SECRET, ...env }, faults);
  return { environment, faults };
}

function sound(env: Record<string, string>): Environment {
  const { environment, faults } = read(env);
  expect(faults).toEqual([]);
  return environment;
}

/** Names of the variables at fault. */
function atFault(env: Record<string, string>): string[] {
  return read(env).faults.map(({ place }) => place.replace(/^environment /, ''));
}

test('a secret alone is enough on one’s own machine', () => {
  expect(sound({})).toMatchObject({
    databaseUrl: null,
    databaseDirectUrl: null,
    redisUrl: null,
    secrets: [{ version: 0, value: SECRET }],
    publicUrl: 'http://127.0.0.1:8080',
    github: { url: 'https://github.com', apiUrl: 'https://api.github.com', client: null },
    tokenKeys: [],
    host: '127.0.0.1',
    port: 8080,
    adminHost: '127.0.0.1',
    adminPort: 9090,
    dataDir: '.data',
  });
});

test('every variable is read', () => {
  const environment = sound({
    DATABASE_URL: 'postgres://gateway:pw@db:5432/gateway',
    DATABASE_DIRECT_URL: 'postgresql://gateway:pw@direct:5432/gateway',
    REDIS_URL: 'rediss://:pw@cache:6379',
    BETTER_AUTH_URL: 'https://hub.example.com/',
    GITHUB_CLIENT_ID: 'id',
    GITHUB_CLIENT_SECRET: 'client-secret',
    GITHUB_URL: 'https://github.example.com',
    GITHUB_API_URL: 'https://github.example.com/api/v3',
    GITHUB_TOKEN_KEYS: `a:${KEY}`,
    HOST: '0.0.0.0',
    PORT: '80',
    ADMIN_HOST: '::1',
    ADMIN_PORT: '0',
    DATA_DIR: '/var/lib/gateway',
    WORKERS: '4',
    LOG_LEVEL: 'debug',
  });
  expect(environment).toMatchObject({
    databaseUrl: 'postgres://gateway:pw@db:5432/gateway',
    databaseDirectUrl: 'postgresql://gateway:pw@direct:5432/gateway',
    redisUrl: 'rediss://:pw@cache:6379',
    publicUrl: 'https://hub.example.com',
    github: {
      url: 'https://github.example.com',
      apiUrl: 'https://github.example.com/api/v3',
      client: { id: 'id', secret: 'client-secret' },
    },
    tokenKeys: [{ id: 'a', key: Buffer.from(KEY, 'base64') }],
    host: '0.0.0.0',
    port: 80,
    adminHost: '::1',
    adminPort: 0,
    dataDir: '/var/lib/gateway',
    logLevel: 'debug',
  });
});

test('an empty variable is as good as none', () => {
  const empty = Object.fromEntries(Object.keys(VARIABLES).map((name) => [name, '']));
  expect(sound({ ...empty, BETTER_AUTH_SECRET: SECRET })).toEqual(sound({}));
});

test('config/env.example names every variable, and no other', () => {
  const text = readFileSync(join(import.meta.dirname, '../../config/env.example'), 'utf8');
  const named = [...text.matchAll(/^(?:# )?([A-Z][A-Z_]*)=/gm)].map(([, name]) => name);
  expect([...named].sort()).toEqual(Object.keys(VARIABLES).sort());
});

test('a short secret of the webhook is refused', () => {
  const { faults } = read({ GITHUB_WEBHOOK_SECRET: 'short' });
  expect(faults).toEqual([
    { place: 'environment GITHUB_WEBHOOK_SECRET', message: expect.stringContaining('at least 16') },
  ]);
});

describe('NAME_FILE', () => {
  const SECRETS = Object.entries(VARIABLES)
    .filter(([, { secret }]) => secret)
    .map(([name]) => name);
  const VALUES: Partial<Record<string, string>> = {
    DATABASE_URL: 'postgres://u:pw@db/x',
    DATABASE_DIRECT_URL: 'postgres://u:pw@db/x',
    REDIS_URL: 'redis://:pw@cache',
    BETTER_AUTH_SECRET: SECRET,
    BETTER_AUTH_SECRETS: `1:${SECRET}`,
    GITHUB_CLIENT_SECRET: 'client-secret',
    GITHUB_TOKEN_KEYS: `a:${KEY}`,
    GITHUB_WEBHOOK_SECRET: 'a-webhook-secret',
  };

  test('goes with each secret', () => {
    expect(SECRETS.sort()).toEqual(Object.keys(VALUES).sort());
  });

  test.each(Object.entries(VALUES))('gives %s what the variable itself would', (name, value = '') => {
    using folder = new ConfigFolder();
    const more: Record<string, string> = { GITHUB_CLIENT_ID: 'id', GITHUB_CLIENT_SECRET: 'x' };
    const direct = sound({ ...more, [name]: value });
    for (const text of [value, `${value}\n`, `${value}\r\n`]) {
      const env = {
        BETTER_AUTH_SECRET: SECRET,
        ...more,
        [name]: '',
        [`${name}_FILE`]: folder.write('secret', text),
      };
      expect(sound(env)).toEqual(direct);
    }
  });

  test.each(Object.entries(VALUES))('beside %s is one too many', (name, value = '') => {
    using folder = new ConfigFolder();
    const more: Record<string, string> = { GITHUB_CLIENT_ID: 'id', GITHUB_CLIENT_SECRET: 'x' };
    const env = { ...more, [name]: value, [`${name}_FILE`]: folder.write('secret', value) };
    expect(read(env).faults).toEqual([
      { place: `environment ${name}`, message: expect.stringContaining(`${name}_FILE`) },
    ]);
  });

  test('that cannot be read is told with the file', () => {
    using folder = new ConfigFolder();
    const missing = join(folder.path, 'missing');
    expect(read({ REDIS_URL_FILE: missing }).faults).toEqual([
      { place: 'environment REDIS_URL', message: expect.stringContaining(missing) },
    ]);
    expect(atFault({ DATABASE_URL_FILE: folder.path })).toEqual(['DATABASE_URL']);
  });

  test('that is empty is as good as none', () => {
    using folder = new ConfigFolder();
    expect(sound({ REDIS_URL_FILE: folder.write('secret', '\n') }).redisUrl).toBeNull();
    const env = { BETTER_AUTH_SECRET: '', BETTER_AUTH_SECRET_FILE: folder.write('secret', '') };
    expect(atFault(env)).toEqual(['BETTER_AUTH_SECRET']);
  });
});

describe('a secret', () => {
  test.each([
    '',
    'x',
    'change-me',
    'a'.repeat(31),
    'a'.repeat(64),
    'abab'.repeat(16),
    '01234'.repeat(8),
    SECRET.slice(1),
  ])('is refused when it is missing or weak: %j', (value) => {
    const { faults } = read({ BETTER_AUTH_SECRET: value });
    expect(faults).toEqual([
      { place: 'environment BETTER_AUTH_SECRET', message: expect.stringContaining('gateway -- secret') },
    ]);
    if (value !== '') expect(faults[0]?.message).not.toContain(value);
  });

  test('may be one of a list: the first signs', () => {
    const secrets = [
      { version: 2, value: OTHER_SECRET },
      { version: 1, value: SECRET },
    ];
    const list = `2:${OTHER_SECRET},1:${SECRET}`;
    expect(sound({ BETTER_AUTH_SECRET: '', BETTER_AUTH_SECRETS: list }).secrets).toEqual(secrets);
    expect(
      sound({ BETTER_AUTH_SECRET: '', BETTER_AUTH_SECRETS: ` ${list.replace(',', ' , ')} ` }).secrets,
    ).toEqual(secrets);
  });

  test.each([
    ['no version', SECRET],
    ['a version in words', `new:${SECRET}`],
    ['a weak one', `2:${OTHER_SECRET},1:hunter2`],
    ['one version twice', `1:${OTHER_SECRET},1:${SECRET}`],
    ['an empty entry', `1:${SECRET},`],
    ['nothing behind the version', '1:'],
  ])('in a list is refused for %s, and never repeated', (_what, list) => {
    const { faults } = read({ BETTER_AUTH_SECRETS: list });
    expect(faults).toEqual([
      { place: 'environment BETTER_AUTH_SECRETS', message: expect.stringMatching(/^entry \d/) },
    ]);
    for (const secret of [SECRET, OTHER_SECRET, 'hunter2']) expect(faults[0]?.message).not.toContain(secret);
  });
});

describe('the public address', () => {
  test.each([
    [{ BETTER_AUTH_URL: 'https://hub.example.com' }, 'https://hub.example.com'],
    [{ BETTER_AUTH_URL: 'https://HUB.example.com:443/' }, 'https://hub.example.com'],
    [{ BETTER_AUTH_URL: 'http://hub.internal:8080' }, 'http://hub.internal:8080'],
    [{ HOST: '::1', PORT: '9000' }, 'http://[::1]:9000'],
    [{ HOST: 'localhost' }, 'http://localhost:8080'],
    [{ NODE_ENV: 'production', BETTER_AUTH_URL: 'https://hub.example.com' }, 'https://hub.example.com'],
    [{ NODE_ENV: 'production', BETTER_AUTH_URL: 'http://127.0.0.1:8080' }, 'http://127.0.0.1:8080'],
    [{ NODE_ENV: 'production', BETTER_AUTH_URL: 'http://localhost:8080' }, 'http://localhost:8080'],
    [{ NODE_ENV: 'production', BETTER_AUTH_URL: 'http://[::1]:8080' }, 'http://[::1]:8080'],
  ])('of %j is %s', (env, publicUrl) => {
    expect(sound(env as Record<string, string>).publicUrl).toBe(publicUrl);
  });

  test.each([
    ['is missing where others can reach us', { HOST: '0.0.0.0' }],
    ['is missing where others can reach us over IPv6', { HOST: '::' }],
    ['is missing in production', { NODE_ENV: 'production' }],
    ['is missing while the port is chosen at start', { PORT: '0' }],
    ['is plain http in production', { NODE_ENV: 'production', BETTER_AUTH_URL: 'http://hub.example.com' }],
    ['only looks like loopback', { NODE_ENV: 'production', BETTER_AUTH_URL: 'http://127.0.0.1.example.com' }],
    [
      'only begins like loopback',
      { NODE_ENV: 'production', BETTER_AUTH_URL: 'http://localhost.example.com' },
    ],
    ['has a path', { BETTER_AUTH_URL: 'https://hub.example.com/gateway' }],
    ['has a query', { BETTER_AUTH_URL: 'https://hub.example.com?x' }],
    ['has a user', { BETTER_AUTH_URL: 'https://user@hub.example.com' }],
    ['is no address', { BETTER_AUTH_URL: 'hub.example.com' }],
    ['is no web address', { BETTER_AUTH_URL: 'ftp://hub.example.com' }],
  ])('is refused when it %s', (_what, env) => {
    expect(atFault(env as unknown as Record<string, string>)).toEqual(['BETTER_AUTH_URL']);
  });
});

describe('is refused, alone and with its name', () => {
  test.each<[VariableName, string[]]>([
    ['PORT', ['x', '-1', '65536', '80.5', '0x50', ' 80', '1e3']],
    ['ADMIN_PORT', ['x', '99999']],
    ['LOG_LEVEL', ['loud', 'INFO']],
    ['WORKERS', ['0', 'many', '-1', '1.5', '257', 'AUTO']],
    ['DATABASE_URL', ['mysql://db', 'db:5432', 'file:./x.db', '/var/lib/x']],
    ['DATABASE_DIRECT_URL', ['http://db']],
    ['REDIS_URL', ['cache:6379', 'http://cache', 'localhost']],
    [
      'GITHUB_URL',
      ['http://github.example.com', 'github.com', 'https://u:p@github.com', 'https://github.com?x'],
    ],
    ['GITHUB_API_URL', ['http://api.github.example.com', 'file:///x']],
    ['GITHUB_CLIENT_ID', ['id-without-a-secret']],
    ['GITHUB_CLIENT_SECRET', ['secret-without-an-id']],
    [
      'GITHUB_TOKEN_KEYS',
      [KEY, 'a:short', `a:${KEY},`, `a:${KEY},a:${KEY}`, `a b:${KEY}`, `a:${KEY.slice(4)}`],
    ],
  ])('%s of %j', (name, values) => {
    for (const value of values) {
      const { faults } = read({ [name]: value });
      expect([value, faults]).toEqual([value, [{ place: expect.any(String), message: expect.any(String) }]]);
      const paired = name.startsWith('GITHUB_CLIENT_') ? 'GITHUB_CLIENT_' : name;
      expect(faults[0]?.place).toContain(`environment ${paired}`);
    }
  });
});

test('plain http to a GitHub on this machine is for trying things out', () => {
  const url = 'http://127.0.0.1:4000';
  expect(sound({ GITHUB_URL: url, GITHUB_API_URL: url }).github).toMatchObject({ url, apiUrl: url });
});

test('a list of token keys keeps its order, in either alphabet of base64', () => {
  const other = randomBytes(32);
  const { tokenKeys } = sound({ GITHUB_TOKEN_KEYS: `new:${KEY}, old:${other.toString('base64url')}` });
  expect(tokenKeys).toEqual([
    { id: 'new', key: Buffer.from(KEY, 'base64') },
    { id: 'old', key: other },
  ]);
});

test('every fault is told at once', () => {
  const env = {
    BETTER_AUTH_SECRET: 'short',
    BETTER_AUTH_URL: 'nowhere',
    DATABASE_URL: 'mysql://db',
    REDIS_URL: 'nowhere',
    GITHUB_CLIENT_ID: 'id',
    GITHUB_TOKEN_KEYS: 'x',
    PORT: 'x',
    LOG_LEVEL: 'loud',
  };
  expect(atFault(env).sort()).toEqual(
    [...Object.keys(env).filter((name) => name !== 'GITHUB_CLIENT_ID'), 'GITHUB_CLIENT_SECRET'].sort(),
  );
});

test('no fault repeats a secret', () => {
  const canary = 'canary-Zx9-4kQw';
  const secrets = Object.entries(VARIABLES).filter(([, { secret }]) => secret);
  for (const [name] of secrets)
    for (const value of [canary, `x://u:${canary}@h`, `1:${canary}`, `a:${canary},a:${canary}`]) {
      const { faults } = read({ [name]: value });
      expect(JSON.stringify(faults)).not.toContain(canary);
    }
});
