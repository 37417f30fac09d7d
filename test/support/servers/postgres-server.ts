import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { makeServerFolder, serverAccount, writeServerFile } from './account.ts';
import { requireBinaries } from './binaries.ts';
import { runServer, type ServerControls } from './server.ts';

const run = promisify(execFile);
const user = 'gateway';

/** A data folder made once and copied for each server, and the password of its only user. */
export type PostgresTemplate = { folder: string; password: string };

export type PostgresOptions = {
  /** Without one, the server makes its own data folder, which takes half a second longer. */
  template?: PostgresTemplate;
  /** Settings of postgresql.conf, such as `{ max_connections: '20' }`. */
  settings?: Record<string, string>;
};

export type PostgresServer = ServerControls & {
  /** Of the empty database `postgres`, with the user's password. */
  url: string;
  template: PostgresTemplate;
};

/** Commits survive a killed process, though not a power cut: only fsync is left out. */
const quickSettings = {
  fsync: 'off',
  full_page_writes: 'off',
  max_connections: '200',
  shared_buffers: '32MB',
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  // In the data folder, so that a killed server leaves nothing behind in /dev/shm.
  dynamic_shared_memory_type: 'mmap',
  timezone: 'UTC',
};

/** Starts a Postgres of its own, on a free port of 127.0.0.1 and in a fresh temporary folder. */
export async function runPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const folder = await makeServerFolder('postgres');
  const data = join(folder, 'data');
  const template = options.template ?? (await makeTemplate(folder));
  await run('cp', ['-R', template.folder, data], { ...serverAccount(), cwd: folder });
  const urlAt = (port: number) => `postgres://${user}:${template.password}@127.0.0.1:${port}/postgres`;
  const server = await runServer({
    name: 'Postgres',
    folder,
    command: (port) => ({
      program: requireBinaries().postgres,
      args: ['-D', data, '-p', String(port), ...settingArgs({ ...quickSettings, ...options.settings })],
    }),
    stopSignal: 'SIGINT',
    endSignal: 'QUIT',
    ask: (port) => ask(urlAt(port)),
  });
  return Object.assign(server, { url: urlAt(server.port), template, close: closing(server, data) });
}

async function makeTemplate(parent: string): Promise<PostgresTemplate> {
  const folder = join(parent, 'template');
  const password = randomBytes(18).toString('base64url');
  const passwordFile = join(parent, 'password');
  await writeServerFile(passwordFile, password);
  const args = ['-D', folder, '-U', user, `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
  await run(requireBinaries().initdb, [...args, '--encoding=UTF8', '--locale=C', '--no-sync'], {
    ...serverAccount(),
    cwd: parent,
  });
  return { folder, password };
}

function settingArgs(settings: Record<string, string>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

async function ask(url: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
  } finally {
    await client.end();
  }
}

function closing(server: ServerControls, data: string): () => Promise<void> {
  const close = server.close;
  return async () => {
    if (server.pid === undefined) await removeSharedMemory(data);
    await close();
  };
}

/** A killed Postgres leaves a System V segment behind; the last but one line of its pid file names it. */
async function removeSharedMemory(data: string): Promise<void> {
  const pidFile = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '');
  const segment = pidFile.split('\n')[6]?.trim().split(/\s+/)[1];
  if (segment) await run('ipcrm', ['-m', segment]).catch(() => {});
}
