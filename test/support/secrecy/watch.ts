// What gateways of this test file have said and stored is searched for every secret that was used: at the end of the file,
// stores before they are gone. Results go to a folder; global-setup.ts adds them up, and fails the run for a hit.
import { ServerResponse } from 'node:http';
import { afterAll, expect, inject } from 'vitest';
import { dumpRedis } from '../redis.ts';
import { openTestStore } from '../store.ts';
import { findSecrets } from './find-secrets.ts';
import { type Place, writeSearched } from './results.ts';

const fixed = new Map<string, string>();
const sessions = new Set<string>();
const kept: { place: Place; text: string }[] = [];
const errorBodies = new Set<string>();

const SHORTEST = 12;

/** The secrets in the environment of a gateway. */
export function noteSecretsOf(env: Readonly<Record<string, string | undefined>>): void {
  const note = (kind: string, secret = '') => secret.length >= SHORTEST && fixed.set(secret, kind);
  note('auth secret', env.BETTER_AUTH_SECRET);
  for (const entry of listOf(env.BETTER_AUTH_SECRETS)) note('auth secret', afterColon(entry));
  for (const entry of listOf(env.GITHUB_TOKEN_KEYS)) {
    const key = afterColon(entry);
    note('token key', key);
    note('token key', Buffer.from(key, 'base64').toString('latin1'));
  }
  note('client secret', env.GITHUB_CLIENT_SECRET);
  for (const name of ['DATABASE_URL', 'DATABASE_DIRECT_URL', 'REDIS_URL'])
    if (env[name]) note('store password', decodeURIComponent(new URL(env[name]).password));
}

/** A session cookie somebody was given. */
export function noteSessionCookie(value: string): void {
  const [token = ''] = decodeURIComponent(value).split('.', 1);
  if (/^[A-Za-z0-9]{32}$/.test(token)) sessions.add(token);
}

/** To be searched at the end, when every secret is known. */
export function keepForSearch(place: Place, text: string): void {
  kept.push({ place, text });
}

export function noteErrorBody(text: string): void {
  errorBodies.add(text);
}

/** Every refusal and failure a gateway in this process answers with, whoever asked. */
function watchAnswers(): void {
  const { end } = ServerResponse.prototype;
  ServerResponse.prototype.end = function (this: ServerResponse, ...args: unknown[]) {
    const [body] = args;
    const isText = typeof body === 'string' || Buffer.isBuffer(body);
    if (isText && this.statusCode >= 400 && this.hasHeader('x-request-id')) noteErrorBody(String(body));
    return Reflect.apply(end, this, args);
  } as typeof end;
}

/** Searches what the stores hold now; one that cannot be read is passed over, and counted. */
export async function searchStores(env: Readonly<Record<string, string | undefined>>): Promise<void> {
  noteSecretsOf(env);
  await reading('database', async () => {
    const store = openTestStore({ databaseUrl: env.DATABASE_URL ?? null, dataDir: env.DATA_DIR ?? '' });
    try {
      const rows = await store.query<{ token: string }>('select token from session').catch(() => []);
      for (const { token } of rows) if (token.length === 32) sessions.add(token);
      search('database', await store.dump());
    } finally {
      await store.close();
    }
  });
  if (env.REDIS_URL)
    await reading('redis', async () => search('redis', await dumpRedis(String(env.REDIS_URL))));
}

async function reading(place: Place, work: () => Promise<void>): Promise<void> {
  await work().catch(() => writeSearched(inject('searchFolder'), { ...result(place), isUnread: true }));
}

/** Searches what was kept. */
function finishSearch(): void {
  for (const text of errorBodies) kept.push({ place: 'error bodies', text });
  errorBodies.clear();
  for (const { place, text } of kept.splice(0)) search(place, text);
}

function search(place: Place, text: string): void {
  const hits = findSecrets(text, { fixed, sessions }, place === 'database');
  writeSearched(inject('searchFolder'), { ...result(place), bytes: Buffer.byteLength(text), hits });
}

function result(place: Place) {
  return { file: expect.getState().testPath ?? '', place, bytes: 0, hits: [], isUnread: false };
}

function listOf(text: string | undefined): string[] {
  return text === undefined ? [] : text.split(',');
}

function afterColon(entry: string): string {
  return entry.slice(entry.indexOf(':') + 1).trim();
}

watchAnswers();
afterAll(finishSearch);
