// The demo and the bin as a terminal runs them: by npm, by an older Node, ended by Ctrl-C, which reaches every process.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../support/servers/port.ts';
import { isAlive } from '../support/servers/processes.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const START_LIMIT_MS = 60_000;
const END_LIMIT_MS = 8_000;
const OLD_NODE = '/usr/bin/node';

interface Demo {
  readonly child: ChildProcess;
  /** Everything it keeps on disk is in here. */
  readonly folder: string;
  readonly urls: { readonly gateway: string; readonly github: string; readonly api: string };
  readonly output: () => string;
  /** As Ctrl-C does: to every process of the terminal at once. @returns how it ended */
  interrupt(): Promise<{ code: number | null; signal: string | null; ms: number }>;
}

type Command = readonly [program: string, ...args: string[]];
const PLAINLY: Command = [process.execPath, 'src/main.ts', 'demo'];

/** Starts a demo and waits for the lines that say where its servers are. Nothing of it outlives the test. */
async function startDemo([program, ...args]: Command = PLAINLY): Promise<Demo> {
  const folder = await temporaryFolder();
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { PATH: process.env.PATH, HOME: folder, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own, as a terminal gives to what it runs.
    detached: true,
  });
  const pid = child.pid as number;
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>;
  onTestFinished(async () => {
    if (groupOf(pid).length > 0) process.kill(-pid, 'SIGKILL');
    await exited;
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
  for (const deadline = Date.now() + START_LIMIT_MS; !text.includes('Ctrl-C'); await sleep(20))
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the demo did not start:\n${text}`);
  const lines = text.split('\n').filter((line) => line.startsWith('{"name"'));
  const named = lines.map((line) => JSON.parse(line)).map(({ name, url }) => [name, url]);
  return {
    child,
    folder,
    urls: Object.fromEntries(named),
    output: () => text,
    async interrupt() {
      const startedAt = performance.now();
      process.kill(-pid, 'SIGINT');
      const [code, signal] = await exited;
      return { code, signal, ms: performance.now() - startedAt };
    },
  };
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'gateway-demo-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Processes of a group that still run. */
function groupOf(leader: number): number[] {
  const listing = execFileSync('ps', ['-eo', 'pid=,pgid='], { encoding: 'utf8' });
  const pairs = listing.trim().split('\n');
  return pairs
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([pid = 0, group]) => (group === leader && isAlive(pid) ? [pid] : []));
}

async function isOpen(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** npm's own things, which it keeps at home and among temporary files. */
const OF_NPM = ['.npm', 'node-compile-cache'];

async function expectGone({ child, folder, urls, output }: Demo): Promise<void> {
  // npm may leave before what it started.
  await expect.poll(() => groupOf(child.pid as number), { timeout: END_LIMIT_MS }).toEqual([]);
  const { gateway, github, api } = urls;
  expect(await Promise.all([gateway, github, api].map(isOpen))).toEqual([false, false, false]);
  const leftBehind = await readdir(folder);
  expect(
    leftBehind.filter((name) => !OF_NPM.includes(name)),
    output(),
  ).toEqual([]);
}

test('a second demo finds other ports; Ctrl-C ends the one it is meant for, whatever its clients do', async () => {
  const first = await startDemo();
  const second = await startDemo();
  const urls = [first, second].flatMap((demo) => Object.values(demo.urls));
  expect(new Set(urls).size).toBe(6);
  const hello = async (demo: Demo) => (await fetch(`${demo.urls.gateway}/api/hello`)).status;
  expect([await hello(first), await hello(second)]).toEqual([401, 401]);
  expect((await readdir(first.folder)).length).toBe(1);
  // Clients that stay: a browser's spare connection, and one within a request.
  for (const text of ['', 'GET /api/hello HTTP/1.1\r\nHost: x\r\n'])
    await stay(Number(new URL(first.urls.gateway).port), text);
  const { ms, ...end } = await first.interrupt();
  expect(end, first.output()).toEqual({ code: 0, signal: null });
  expect(ms).toBeLessThan(END_LIMIT_MS);
  await expectGone(first);
  expect(await hello(second)).toBe(401);
  expect(await second.interrupt()).toMatchObject({ code: 0, signal: null });
  await expectGone(second);
});

async function stay(port: number, text: string): Promise<void> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  if (text !== '') await new Promise<void>((resolve) => void socket.write(text, () => resolve()));
}

test('Ctrl-C under "npm run demo", which npm passes on once more, leaves nothing behind', async () => {
  const npm = process.env.npm_execpath;
  const byNpm: Command = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm'];
  const demo = await startDemo([...byNpm, 'run', 'demo']);
  expect((await demo.interrupt()).ms).toBeLessThan(END_LIMIT_MS);
  await expectGone(demo);
});

test('a port that somebody else has is told in words, and nothing stays behind', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  onTestFinished(() => void taken.close());
  const folder = await temporaryFolder();
  const env = {
    PATH: process.env.PATH,
    TMPDIR: folder,
    PORT: String((taken.address() as AddressInfo).port),
    ADMIN_PORT: String(await freePort()),
  };
  const [program, ...args] = PLAINLY;
  const failure = await run(program, args, { cwd: ROOT, env }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 1, stderr: expect.stringMatching(/\bPORT\b/) });
  expect(failure).not.toMatchObject({ stderr: expect.stringContaining('    at ') });
  expect(await readdir(folder)).toEqual([]);
});

describe.skipIf(!isOldNode())('under the older Node of the machine', () => {
  test('the bin makes a secret: it hands over to the Node among the dependencies', async () => {
    const secrets = await Promise.all(
      [1, 2].map(() => run(OLD_NODE, ['src/bin.js', 'secret'], { cwd: ROOT })),
    );
    for (const { stdout } of secrets) expect(stdout).toMatch(/^[\w-]{43}\n$/);
    expect(secrets[0]?.stdout).not.toBe(secrets[1]?.stdout);
  });

  test('the bin passes on how the command ended', async () => {
    const env = { PATH: process.env.PATH, GATEWAY_CONFIG: '/nowhere.yaml' };
    const failed = run(OLD_NODE, ['src/bin.js', 'start'], { cwd: ROOT, env });
    await expect(failed).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('/nowhere.yaml') });
  });

  test('Ctrl-C ends a demo that runs by the bin, and the process it handed over to', async () => {
    const demo = await startDemo([OLD_NODE, 'src/bin.js', 'demo']);
    const { ms, ...end } = await demo.interrupt();
    expect(end, demo.output()).toEqual({ code: 0, signal: null });
    expect(ms).toBeLessThan(END_LIMIT_MS);
    await expectGone(demo);
  });
});

function isOldNode(): boolean {
  if (!existsSync(OLD_NODE)) return false;
  const version = execFileSync(OLD_NODE, ['--version'], { encoding: 'utf8' });
  return Number(/^v(\d+)/.exec(version)?.[1]) < 24;
}
