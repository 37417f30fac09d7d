import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { post } from '../support/browser-like.ts';
import { freePort } from '../support/servers/port.ts';
import { childrenOf } from '../support/servers/processes.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const CHROMIUM = '/usr/bin/chromium';
const hasCurl = spawnSync('curl', ['--version']).status === 0;
const run = promisify(execFile);

interface Demo {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly gatewayUrl: string;
  readonly adminUrl: string;
}

/** Runs `npm run demo`, and waits until it has said everything. */
async function startDemo(): Promise<Demo> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const child = spawn(process.execPath, [MAIN, 'demo'], {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk) => {
    stderr += chunk;
  });
  await vi.waitFor(
    () => {
      if (child.exitCode === null && !stdout.includes('Ctrl-C')) throw new Error(`no demo yet: ${stderr}`);
    },
    { timeout: 60_000, interval: 20 },
  );
  if (child.exitCode !== null) throw new Error(`the demo ended with ${child.exitCode}: ${stderr}`);
  return {
    child,
    output: () => stdout,
    gatewayUrl: `http://127.0.0.1:${port}`,
    adminUrl: `http://127.0.0.1:${adminPort}`,
  };
}

async function interrupt({ child }: Demo): Promise<[code: number | null, signal: string | null]> {
  if (child.exitCode !== null || child.signalCode !== null) return [child.exitCode, child.signalCode];
  const exited = once(child, 'exit');
  child.kill('SIGINT');
  return (await exited) as [number | null, string | null];
}

interface ServerLine {
  name: string;
  url: string;
  pat?: string;
}

const serverLines = (demo: Demo) =>
  demo
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as ServerLine);
const curlLines = (demo: Demo) =>
  demo
    .output()
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('curl '));

describe('the demo', () => {
  let demo: Demo;
  beforeAll(async () => {
    demo = await startDemo();
  });
  afterAll(() => interrupt(demo));

  test('tells each server it started, GitHub with a token that signs in', async () => {
    const lines = serverLines(demo);
    expect(lines.map(({ name }) => name).sort()).toEqual(['api', 'gateway', 'github']);
    expect(lines.find(({ name }) => name === 'gateway')?.url).toBe(demo.gatewayUrl);
    for (const { url } of lines) expect((await fetch(url, { redirect: 'manual' })).status).toBeGreaterThan(0);
    const pat = lines.find(({ name }) => name === 'github')?.pat;
    const response = await fetch(`${demo.gatewayUrl}/api/auth/pat-signin`, post({ pat }));
    expect([response.status, await response.json()]).toEqual([200, { success: true }]);
    for (const path of ['/livez', '/readyz'])
      expect((await fetch(`${demo.adminUrl}${path}`)).status, path).toBe(200);
  });

  test.skipIf(!hasCurl)('prints curl lines that do what they say when pasted', async () => {
    const lines = curlLines(demo);
    const outputs: string[] = [];
    for (const line of lines) outputs.push((await run('sh', ['-c', line])).stdout);
    const statuses = outputs.map((text) => /^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 'body only');
    expect(statuses).toEqual(['401', '200', '200', 'body only', '403', '200']);
    expect(outputs[0]).toContain('no-session-cookie');
    expect(outputs[1]).toContain('{"success":true}');
    expect(JSON.parse(outputs[2]?.split('\r\n\r\n')[1] ?? '')).toMatchObject({
      caller: { login: 'octocat', hasGitHubToken: true, scopes: 'public_repo,read:user,user:email' },
      github: { status: 200, login: 'octocat' },
    });
    expect(JSON.parse(outputs[3] ?? '')).toEqual({ scopes: ['public_repo', 'read:user', 'user:email'] });
    expect(outputs[4]).toContain('role-missing');
    const again = (await run('sh', ['-c', lines[2] ?? ''])).stdout;
    expect(again, 'after signing out').toMatch(/^HTTP\/1\.1 401/);
  });

  test.skipIf(!existsSync(CHROMIUM))(
    'lets a person click through the sign-in and lands where they wanted to go',
    async () => {
      const browser = await chromium.launch({
        executablePath: CHROMIUM,
        args: [
          '--no-sandbox',
          '--disable-gpu',
          '--disable-quic',
          '--no-first-run',
          '--disable-background-networking',
          '--disable-component-update',
          '--disable-sync',
        ],
      });
      try {
        const context = await browser.newContext();
        const page = await context.newPage();
        const faults: string[] = [];
        page.on('console', (message) => {
          if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text());
        });
        page.on('pageerror', (error) => faults.push(String(error)));
        const wanted = `${demo.gatewayUrl}/api/hello?from=browser&x=a%20b`;
        await page.goto(wanted);
        expect(new URL(page.url()).pathname).toBe('/_gateway/sign-in');
        await page.getByRole('link', { name: 'Sign in with GitHub' }).click();
        await page.getByRole('radio', { name: 'octocat' }).check();
        await page.getByRole('button', { name: 'Authorize' }).click();
        await page.waitForURL(wanted);
        const shown = JSON.parse((await page.locator('body').textContent()) ?? '');
        expect(shown).toMatchObject({
          path: '/api/hello?from=browser&x=a%20b',
          caller: { login: 'octocat' },
          github: { status: 200, login: 'octocat' },
        });
        const cookies = await context.cookies();
        expect(cookies.filter(({ name }) => name === 'better-auth.session_token')).toEqual([
          expect.objectContaining({ httpOnly: true, sameSite: 'Lax', path: '/' }),
        ]);
        expect(cookies.every(({ httpOnly }) => httpOnly)).toBe(true);

        const signedOut = await page.evaluate(
          async () => (await fetch('/api/auth/sign-out', { method: 'POST' })).status,
        );
        expect(signedOut).toBe(200);
        await page.goto(wanted);
        expect(new URL(page.url()).pathname).toBe('/_gateway/sign-in');
        await page.getByRole('link', { name: 'Sign in with GitHub' }).click();
        await page.getByRole('button', { name: 'Cancel' }).click();
        await page.getByRole('alert').waitFor();
        expect(await page.getByRole('alert').textContent()).toMatch(/cancelled/i);
        expect(faults).toEqual([]);
      } finally {
        await browser.close();
      }
    },
  );
});

test('Ctrl-C ends the demo with 0: servers, children and folder are gone', async () => {
  const demo = await startDemo();
  const folder = dirname(/-c (\S+)/.exec(curlLines(demo)[1] ?? '')?.[1] ?? '');
  expect(existsSync(folder)).toBe(true);
  const urls = serverLines(demo).map(({ url }) => url);
  // An answer that is under way does not hold it up.
  await fetch(`${demo.gatewayUrl}/api/public/x`);
  const children = childrenOf(demo.child.pid as number);
  expect(await interrupt(demo)).toEqual([0, null]);
  expect(existsSync(folder)).toBe(false);
  for (const url of [...urls, demo.adminUrl]) await expect(fetch(url)).rejects.toThrow();
  expect(children).toEqual([]);
});

test('two demos run side by side', async () => {
  const [first, second] = await Promise.all([startDemo(), startDemo()]);
  try {
    for (const { gatewayUrl } of [first, second])
      expect((await fetch(`${gatewayUrl}/api/public/x`)).status).toBe(200);
  } finally {
    expect(await Promise.all([interrupt(first), interrupt(second)])).toEqual([
      [0, null],
      [0, null],
    ]);
  }
});
