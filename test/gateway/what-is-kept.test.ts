// What is left in Redis, in Postgres and in the log after people came, worked and went: nothing that opens anything.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sign, verify } from '../../src/sessions/cookie.ts';
import { type Client, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { askRedis, dumpRedis } from '../support/redis.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { send } from '../support/send.ts';

const PEOPLE = scale({ quick: 6, full: 60 });
const SECRET = 'a-secret-for-tests-0123456789abcdefghij';
const SESSION = 'better-auth.session_token';

let here: TestGateway;
let there: TestGateway;
beforeAll(async () => {
  here = await startTestGateway({ logLevel: 'trace' });
  there = await here.another({ BETTER_AUTH_URL: here.url });
});
afterAll(async () => {
  await there?.close();
  await here?.close();
});

/** All that must stay between a client, the gateway and GitHub. */
interface Secrets {
  readonly sessionTokens: string[];
  readonly cookies: string[];
  readonly githubTokens: string[];
}

test('no session, no cookie and no GitHub token is kept where it can be read', UNHURRIED, async (context) => {
  const secrets: Secrets = { sessionTokens: [], cookies: [], githubTokens: [] };
  for (let person = 0; person < PEOPLE; person++) await aLife(person, secrets);
  const kept = {
    redis: await dumpRedis(here.config.redisUrl ?? ''),
    postgres: await here.store.dump(),
    log: [...here.logLines(), ...there.logLines()].join('\n'),
  };
  const keys = (await askRedis(here.config.redisUrl ?? '', 'KEYS', '*')) as string[];
  report(context, {
    people: PEOPLE,
    githubTokens: secrets.githubTokens.length,
    sessions: secrets.sessionTokens.length,
    redisKeys: keys.length,
    logLines: kept.log.split('\n').length,
  });
  expect(secrets.githubTokens.length).toBeGreaterThanOrEqual(PEOPLE * 2);
  for (const [place, text] of Object.entries(kept))
    expect(found(text, [...secrets.githubTokens, SECRET]), `GitHub tokens in ${place}`).toEqual([]);
  for (const [place, text] of Object.entries(kept))
    expect(text.match(/(gh[a-z]|github_pat)_\w{16,}/g) ?? [], place).toEqual([]);
  for (const place of ['redis', 'log'] as const)
    expect(found(kept[place], [...secrets.sessionTokens, ...secrets.cookies]), place).toEqual([]);
  // Better Auth keeps session tokens in its own table, and there alone.
  expect(found(kept.postgres, secrets.cookies)).toEqual([]);
  expect(keys.filter((key) => !/^gateway:(session:[0-9a-f]{64}|epoch|rate:.+)$/.test(key))).toEqual([]);
  for (const [place, text] of Object.entries(kept)) expect(signedValues(text), place).toEqual([]);
  for (const place of ['redis', 'log'] as const) expect(await sessionNames(kept[place]), place).toEqual([]);
  expect(
    signedValues(`x ${sign(secrets.sessionTokens[0] ?? '', SECRET)} x`),
    'the search itself',
  ).toHaveLength(1);
});

/** Comes by either way, works at both gateways, and goes, or stays. */
async function aLife(at: number, secrets: Secrets): Promise<void> {
  const { login } = addPerson(here.github);
  // Every other one with a token that runs out, and one to renew it.
  here.github.app.expiringTokens = at % 2 === 1;
  const browser = (await signInWithGitHub(here, login)).client;
  await work(browser, secrets);
  const pat = here.github.control.issueToken({ login, kind: 'classic', scopes: ['repo', 'user:email'] });
  secrets.githubTokens.push(pat);
  const script = await signInByToken(pat, `127.9.${at >> 8}.${1 + (at & 127)}`);
  await work(script, secrets);
  await work(browser, secrets);
  // What is forged, and what a person pastes into the wrong place.
  await send(`${here.url}/api/x?token=none`, {
    headers: { cookie: `${SESSION}=forged`, authorization: `Bearer ${pat}` },
  });
  for (const body of [{ pat: `${pat}x` }, { token: pat }, pat])
    await send(`${there.url}/api/auth/pat-signin`, {
      method: 'POST',
      headers: JSON_TYPE,
      body: JSON.stringify(body),
      from: `127.8.${at >> 8}.${1 + (at & 127)}`,
    });
  if (at % 2 === 0) expect((await browser.fetch('/api/auth/sign-out', post())).status).toBe(200);
  if (at % 3 === 0) expect((await script.fetch('/api/auth/revoke-sessions', post())).status).toBe(200);
}

const JSON_TYPE = { 'content-type': 'application/json' };

async function signInByToken(pat: string, from: string): Promise<Client> {
  const client = createClient(there.url);
  const body = JSON.stringify({ pat });
  const response = await client.curl('/api/auth/pat-signin', {
    method: 'POST',
    headers: JSON_TYPE,
    body,
    from,
  });
  expect(response.status).toBe(200);
  return client;
}

async function work(client: Client, { sessionTokens, cookies, githubTokens }: Secrets): Promise<void> {
  for (const gateway of [here, there, here]) {
    const at = createClient(gateway.url, client.cookies);
    const { headers } = await at.json<{ headers: Record<string, string> }>('/api/x');
    githubTokens.push(headers['x-forwarded-access-token'] ?? '');
    for (const path of ['/public/x', '/optional/x', '/api/admin/x', '/nowhere', '/api/auth/get-session'])
      await (await at.fetch(path)).arrayBuffer();
  }
  const value = client.cookies.get(SESSION) ?? '';
  sessionTokens.push(decodeURIComponent(value).split('.', 1)[0] ?? '');
  for (const [, each] of client.cookies) if (each.length > 20) cookies.push(each, decodeURIComponent(each));
}

/** Those that stand in the text, as they are or in a spelling that anyone can undo. */
function found(text: string, secrets: readonly string[]): string[] {
  return [...new Set(secrets)].filter((secret) => {
    if (secret.length < 20) throw new Error(`no secret: ${secret}`);
    const bytes = Buffer.from(secret);
    // Inside something longer base64 begins at one of three places, and its ends depend on what is beside it.
    const inner = [0, 1, 2].map((at) =>
      Buffer.concat([Buffer.alloc(at), bytes])
        .toString('base64')
        .slice(4, -4),
    );
    const spellings = [
      secret,
      bytes.toString('hex'),
      [...secret].reverse().join(''),
      ...inner,
      ...inner.map(urlSafe),
    ];
    return spellings.some((spelling) => text.includes(spelling));
  });
}

function urlSafe(base64: string): string {
  return base64.replaceAll('+', '-').replaceAll('/', '_');
}

/** What can be cut out of the text and is a signed cookie. */
function signedValues(text: string): string[] {
  const like = text.match(/[\w%-]+\.[A-Za-z0-9+/%]{43,60}(=|%3D)/g) ?? [];
  return like.filter((value) => verify(value, [SECRET]) !== null);
}

/** What can be cut out of the text and would be a session if a gateway signed it. */
async function sessionNames(text: string): Promise<string[]> {
  const words = new Set(text.match(/[A-Za-z0-9_-]{32,64}/g) ?? []);
  const parts = [...words].flatMap((word) =>
    Array.from({ length: word.length - 31 }, (_each, at) => word.slice(at, at + 32)),
  );
  const rows = await here.store.query<{ token: string }>('select token from session');
  const tokens = new Set(rows.map(({ token }) => token));
  return parts.filter((part) => tokens.has(part));
}
