// The gateway as a process: what it refuses to start with, and where it takes its secrets from.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { signInWithGitHub } from '../support/browser-like.ts';
import { startSurroundings } from '../support/gateway.ts';
import { runCommand, startGatewayProcess } from '../support/gateway-process.ts';
import { openTestStore } from '../support/store.ts';

const surroundings = async (stores: 'sqlite' | 'postgres+redis') => {
  const around = await startSurroundings({ stores });
  onTestFinished(() => around.close());
  return around;
};

const FAULTY = `upstreams:
  hub: { targets: ["ftp://example.com"], githubTokens: none }
  far: { targets: ["http://hub.example.com"], githubToken: bearer }
routes:
  - { path: /a/**, upstream: nowhere }
  - { path: b, upstream: hub, access: everyone }
colour: red
`;

test.each(['start', 'migrate'])(
  '%s with a faulty configuration exits 1 with every fault at once, each with its place, and opens nothing',
  async (name) => {
    const { env } = await surroundings('sqlite');
    await writeFile(env.GATEWAY_CONFIG ?? '', FAULTY);
    const faulty = { PORT: 'eighty', BETTER_AUTH_SECRET: 'short', REDIS_URL: 'http://x', LOG_LEVEL: 'loud' };
    const { code, output } = await runCommand([name], { ...env, ...faulty });
    expect(code).toBe(1);
    for (const variable of Object.keys(faulty)) expect(output).toContain(`environment ${variable} `);
    for (const place of ['2:20', '2:42', '3:3', '3:20', '5:30', '6:13', '6:39', '7:1'])
      expect(output).toContain(`gateway.yaml:${place} `);
    for (const help of [
      'githubTokens',
      'githubToken,',
      'there is hub, far',
      'optional',
      'npm run gateway -- secret',
    ])
      expect(output).toContain(help);
    expect(output, 'no stack').not.toMatch(/\n\s+at /);
    expect(existsSync(env.DATA_DIR ?? '')).toBe(false);
  },
);

test('secrets are taken from the files that NAME_FILE names, and reach no line of the log', async () => {
  const around = await surroundings('postgres+redis');
  const folder = await mkdtemp(join(tmpdir(), 'secrets-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const secrets: Record<string, string> = {
    BETTER_AUTH_SECRETS: '3:from-a-file-0123456789abcdefghijklmn,1:a-secret-for-tests-0123456789abcdefghij',
    GITHUB_TOKEN_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    GITHUB_CLIENT_SECRET: around.env.GITHUB_CLIENT_SECRET ?? '',
    DATABASE_URL: around.env.DATABASE_URL ?? '',
    REDIS_URL: around.env.REDIS_URL ?? '',
  };
  const env: Record<string, string> = { ...around.env, BETTER_AUTH_SECRET: '' };
  for (const [name, value] of Object.entries(secrets)) {
    await writeFile(join(folder, name), `${value}\n`);
    Object.assign(env, { [name]: '', [`${name}_FILE`]: join(folder, name) });
  }
  expect(await runCommand(['migrate'], env)).toMatchObject({ code: 0 });
  const gateway = await startGatewayProcess({ ...around, env });
  onTestFinished(async () => void (await gateway.end()));
  const { client, landedAt } = await signInWithGitHub(gateway, 'octocat');
  expect(landedAt).toMatch(/\/api\/home$/);
  expect(await client.json('/api/x')).toMatchObject({
    headers: { 'x-forwarded-access-token': expect.stringMatching(/^gho_/) },
  });
  const store = openTestStore({ databaseUrl: around.env.DATABASE_URL ?? '', dataDir: '' });
  onTestFinished(() => store.close());
  const [account] = await store.query('select "accessToken" from account');
  expect(account?.accessToken).toMatch(/^v1\.k1\./);
  expect((await fetch(`${gateway.adminUrl}/readyz`)).status).toBe(200);
  for (const secret of ['from-a-file', secrets.GITHUB_TOKEN_KEYS ?? '', secrets.GITHUB_CLIENT_SECRET ?? ''])
    expect(gateway.output()).not.toContain(secret);
});

test('a secret file that cannot be read is a fault that names it', async () => {
  const { env } = await surroundings('sqlite');
  const faulty = { BETTER_AUTH_SECRET: '', BETTER_AUTH_SECRET_FILE: '/nowhere/secret' };
  expect(await runCommand(['start'], { ...env, ...faulty })).toEqual({
    code: 1,
    output: expect.stringContaining('BETTER_AUTH_SECRET_FILE=/nowhere/secret'),
  });
});
