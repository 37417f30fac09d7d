// The application that is there before the gateway, with its database, started as a process of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { StandInGitHub } from '../../../src/demo/github/server.ts';
import { type Client, createClient, post } from '../browser-like.ts';
import { freePort } from '../servers/port.ts';
import { APPLICATION_SCHEMA } from './schema.ts';

const SERVER = fileURLToPath(new URL('./server.ts', import.meta.url));
const START_LIMIT_MS = 60_000;

export interface Application {
  readonly url: string;
  /** SIGTERM. */
  close(): Promise<void>;
}

export interface ApplicationOptions {
  readonly databaseUrl: string;
  readonly github: StandInGitHub;
  /** Any free one unless given. */
  readonly port?: number;
  /** Its own unless it stands behind a gateway. */
  readonly publicUrl?: string;
  readonly env: Record<string, string>;
}

/** Makes its tables, as they were before there was a gateway. */
export async function makeApplicationTables(databaseUrl: string): Promise<void> {
  const client = new pg.Client(databaseUrl);
  await client.connect();
  await client.query(APPLICATION_SCHEMA);
  await client.end();
}

export async function startApplication(options: ApplicationOptions): Promise<Application> {
  const { github } = options;
  const port = options.port ?? (await freePort());
  const url = `http://127.0.0.1:${port}`;
  const publicUrl = options.publicUrl ?? url;
  github.app.redirectUris.push(`${publicUrl}/api/auth/callback/github`);
  const child = spawn(process.execPath, [SERVER], {
    env: {
      PATH: process.env.PATH,
      PORT: String(port),
      APPLICATION_URL: url,
      BETTER_AUTH_URL: publicUrl,
      DATABASE_URL: options.databaseUrl,
      GITHUB_URL: github.url,
      GITHUB_API_URL: github.apiUrl,
      GITHUB_CLIENT_ID: github.app.clientId,
      GITHUB_CLIENT_SECRET: github.app.clientSecret,
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  for (const deadline = Date.now() + START_LIMIT_MS; !output.includes('listening'); await sleep(20))
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`the application does not start:\n${output}`);
    }
  return {
    url,
    async close() {
      if (child.exitCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** Signs in at the application itself, by its own "Sign in with GitHub". */
export async function signInAtApplication(
  application: Application,
  github: StandInGitHub,
  login: string,
): Promise<Client> {
  const client = createClient(application.url);
  const origin = { origin: application.url };
  const started = await client.json<{ url: string }>('/api/auth/sign-in/social', {
    ...post({ provider: 'github', callbackURL: '/' }),
    headers: { 'content-type': 'application/json', ...origin },
  });
  const url = started.url.replace('https://github.com', github.url);
  const callback = await github.control.authorize({ url, login });
  const { pathname, search } = new URL(callback);
  const response = await client.fetch(`${pathname}${search}`);
  if (response.status !== 302) throw new Error(`callback: ${response.status} ${await response.text()}`);
  return client;
}

/** Signs in at the application itself, with a token. */
export async function signInAtApplicationWithToken(
  application: Application,
  github: StandInGitHub,
  login: string,
): Promise<Client> {
  const client = createClient(application.url);
  const pat = github.control.issueToken({ login, kind: 'classic', scopes: ['repo', 'user:email'] });
  const response = await client.fetch('/api/auth/pat-signin', post({ pat }));
  if (response.status !== 200) throw new Error(`pat-signin: ${response.status} ${await response.text()}`);
  return client;
}
