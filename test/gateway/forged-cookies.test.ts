// Cookies nobody was given: none opens anything, none breaks anything, at any gateway.
import { createHash, createHmac, randomBytes, randomInt } from 'node:crypto';
import { symmetricEncodeJWT } from 'better-auth/crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, cookieHeader, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { type SendOptions, send } from '../support/send.ts';

const TIMES = scale({ quick: 400, full: 20_000 });
const AT_ONCE = 8;
const SESSION = 'better-auth.session_token';
const JWE = 'better-auth.session_data';
const SECRET = 'a-secret-for-tests-0123456789abcdefghij';
const ANOTHER = 'another-secret-0123456789-abcdefghijklmn';
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

interface Identity {
  readonly client: Client;
  readonly value: string;
  readonly token: string;
  readonly signature: string;
  readonly jwe: string;
  readonly userId: string;
  readonly sessionId: string;
}

let here: TestGateway;
let there: TestGateway;
let mine: Identity;
let theirs: Identity;
beforeAll(async () => {
  here = await startTestGateway({ logLevel: 'error' });
  there = await here.another({ BETTER_AUTH_URL: here.url });
  [mine, theirs] = [await signedIn(), await signedIn()];
});
afterAll(async () => {
  await there?.close();
  await here?.close();
});

async function signedIn(): Promise<Identity> {
  const { client } = await signInWithGitHub(here, addPerson(here.github).login);
  const value = client.cookies.get(SESSION) ?? '';
  const [token = '', signature = ''] = decodeURIComponent(value).split('.');
  const { user, session } =
    await client.json<Record<'user' | 'session', { id: string }>>('/api/auth/get-session');
  for (const gateway of [here, there])
    expect((await createClient(gateway.url, new Map(client.cookies)).fetch('/api/x')).status).toBe(200);
  const jwe = client.cookies.get(JWE) ?? '';
  expect(jwe).toMatch(/^eyJ/);
  return { client, value, token, signature, jwe, userId: user.id, sessionId: session.id };
}

const mac = (text: string, secret: string | Buffer = SECRET, hash = 'sha256') =>
  createHmac(hash, secret).update(text).digest('base64');
const signed = (text: string, secret?: string) => encodeURIComponent(`${text}.${mac(text, secret)}`);
const cookie = (value: string, name = SESSION) => `${name}=${value}`;

/** What an answer to it gave away; nothing when it was refused as it should be. */
async function opened(header: string, gateway: TestGateway, path = '/api/x'): Promise<string[]> {
  const seen = here.upstream.seen.length;
  const response = await send(`${gateway.url}${path}`, { headers: { cookie: header } });
  const text = await response.text();
  const faults = response.status === 401 ? [] : [`${response.status}: ${text.slice(0, 100)}`];
  if (here.upstream.seen.length > seen) faults.push('the upstream was asked');
  return faults.map((fault) => `${header.slice(0, 200)} → ${fault}`);
}

describe('a forged cookie', () => {
  const randomToken = () =>
    Array.from({ length: randomInt(16, 64) }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  const changed = (text: string) => {
    const at = randomInt(text.length);
    const other = ALPHABET.replace(text[at] ?? '', '')[randomInt(ALPHABET.length - 1)] ?? '';
    return text.slice(0, at) + other + text.slice(at + 1);
  };
  const forgeries: Record<string, () => string> = {
    'a token changed': () => encodeURIComponent(`${changed(mine.token)}.${mine.signature}`),
    'a signature changed': () =>
      encodeURIComponent(`${mine.token}.${changed(mine.signature.slice(0, 42))}${mine.signature.slice(42)}`),
    'the signature of somebody else': () => encodeURIComponent(`${mine.token}.${theirs.signature}`),
    'cut short': () => encodeURIComponent(`${mine.token}.${mine.signature}`.slice(0, randomInt(1, 76))),
    'made longer': () => `${mine.value}${randomToken()}`,
    'another secret': () => signed(mine.token, ANOTHER),
    'a random secret': () => signed(mine.token, randomBytes(32).toString('base64')),
    'its own token for a secret': () => signed(mine.token, mine.token),
    'the hash of the secret': () => signed(mine.token, createHash('sha256').update(SECRET).digest('hex')),
    'another hash': () => encodeURIComponent(`${mine.token}.${mac(mine.token, SECRET, 'sha512')}`),
    'a random signature': () => encodeURIComponent(`${mine.token}.${randomBytes(32).toString('base64')}`),
    'a random token that we signed': () => signed(randomToken()),
    'random bytes': () => randomBytes(randomInt(1, 200)).toString('base64url'),
    'random escapes': () => randomBytes(randomInt(1, 60)).toString('hex').replace(/../g, '%$&'),
  };

  test('opens nothing at either gateway, and breaks nothing', UNHURRIED, async (context) => {
    const faults: string[] = [];
    const makers = Object.values(forgeries);
    let made = 0;
    const work = async () => {
      while (made < TIMES) {
        const forge = makers[made % makers.length] as () => string;
        faults.push(...(await opened(cookie(forge()), made++ % 2 ? there : here)));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    report(context, {
      forged: TIMES,
      accepted: faults.filter((fault) => !/→ 5\d\d:/.test(fault)).length,
      errors: faults.filter((fault) => /→ 5\d\d:/.test(fault)).length,
    });
    expect(faults).toEqual([]);
    for (const gateway of [here, there])
      expect(gateway.logLines().filter((line) => line.includes('"level":50'))).toEqual([]);
  });
});

test('a name of something else, though we signed it, opens nothing', async () => {
  const names = [
    `active-sessions-${mine.userId}`,
    `verification:${mine.userId}`,
    `gateway:session:${createHash('sha256').update(mine.token).digest('hex')}`,
    createHash('sha256').update(mine.token).digest('hex'),
    mine.userId,
    mine.sessionId,
    `../${mine.token}`,
    `${mine.token}/../${mine.token}`,
    `${mine.token}\u0000`,
    ` ${mine.token}`,
    mine.token.toUpperCase(),
    mine.token.toLowerCase(),
    `${mine.token}' or '1'='1`,
    '%',
    '_'.repeat(32),
    'ünïcödé'.repeat(8),
    '🐙'.repeat(16),
    'x'.repeat(10_240),
    '__proto__',
    'constructor-constructor',
  ];
  const faults: string[] = [];
  for (const gateway of [here, there])
    for (const name of names) faults.push(...(await opened(cookie(signed(name)), gateway)));
  expect(faults).toEqual([]);
});

describe('a JWE cookie', () => {
  const payload = ({ userId, token, sessionId }: Identity, lastsMs = 3_600_000) => {
    const now = new Date().toISOString();
    const ends = new Date(Date.now() + lastsMs).toISOString();
    const user = { id: userId, email: 'x@example.com', name: 'X', role: 'admin', emailVerified: true };
    const session = { id: sessionId, userId, token, expiresAt: ends, createdAt: now, updatedAt: now };
    return {
      user: { ...user, createdAt: now, updatedAt: now },
      session,
      updatedAt: Date.now(),
      version: '1',
    };
  };
  const encode = (claims: object, secret = SECRET, seconds = 3600, salt = 'better-auth-session') =>
    symmetricEncodeJWT(claims, secret, salt, seconds);
  const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const cookies: Record<string, () => string | Promise<string>> = {
    'of somebody else': () => theirs.jwe,
    'of our own making': () => encode(payload(theirs)),
    'that has run out': () => encode(payload(theirs), SECRET, -3600),
    'whose session has run out': () => encode(payload(theirs, -1000)),
    'from the future': () => encode({ ...payload(theirs), iat: Math.floor(Date.now() / 1000) + 86_400 }),
    'under another secret': () => encode(payload(theirs), ANOTHER),
    'made for accounts': () => encode(payload(theirs), SECRET, 3600, 'better-auth-account'),
    'that is signed only': () => `${base64({ alg: 'HS256' })}.${base64(payload(theirs))}.${mac('x')}`,
    'of algorithm none': () => `${base64({ alg: 'none' })}.${base64(payload(theirs))}.`,
    'that is plain': () => base64(payload(theirs)),
    'that is nothing': () => 'x',
    'of 10 KB': () => 'A'.repeat(10_240),
  };

  test.each(Object.entries(cookies))('%s, alone, is nobody', async (_name, make) => {
    const jwe = await make();
    const headers = [
      cookie(jwe, JWE),
      `${cookie(jwe.slice(0, 50), `${JWE}.0`)}; ${cookie(jwe.slice(50), `${JWE}.1`)}`,
    ];
    for (const gateway of [here, there])
      for (const header of headers) {
        expect(await opened(header, gateway)).toEqual([]);
        const told = await send(`${gateway.url}/api/auth/get-session`, { headers: { cookie: header } });
        expect(await told.json()).toBeNull();
      }
  });

  test.each(Object.entries(cookies))(
    '%s, beside a session, changes nothing about who one is',
    async (_name, make) => {
      const header = `${cookie(await make(), JWE)}; ${cookie(mine.value)}`;
      for (const gateway of [here, there]) {
        const answer = await send(`${gateway.url}/api/x`, { headers: { cookie: header } });
        expect((await answer.json()).headers).toMatchObject({
          'x-forwarded-user': mine.userId,
          'x-forwarded-groups': 'user',
        });
        const told = await send(`${gateway.url}/api/auth/get-session`, { headers: { cookie: header } });
        expect(await told.json()).toMatchObject({ user: { id: mine.userId, role: 'user' } });
      }
    },
  );
});

test('of several session cookies none is preferred: nobody becomes somebody else', async (context) => {
  const [good, other] = [cookie(mine.value), cookie(theirs.value)];
  const forged = cookie(signed(mine.token, ANOTHER));
  const refused = [
    `${good}; ${other}`,
    `${other}; ${good}`,
    `${good}; ${forged}`,
    `${forged}; ${good}`,
    `${good}; ${cookie('')}`,
    `${cookie('')}; ${good}`,
    `${good}; a=b; ${other}; c=d`,
    `${good}; ${good}; ${other}`,
    `${good};${other}`,
    `${good} ; ${other}`,
    cookie(mine.value, SESSION.toUpperCase()),
    cookie(mine.value, 'Better-Auth.session_token'),
    cookie(mine.value, `__Secure-${SESSION}`),
    cookie(mine.value, `__Host-${SESSION}`),
    cookie(`"${mine.value}"`),
    cookie(mine.value, `$Version=1; $${SESSION}`),
  ];
  const faults: string[] = [];
  for (const gateway of [here, there])
    for (const header of refused) faults.push(...(await opened(header, gateway)));
  // Beside the good one these are other cookies, of which one knows nothing.
  const passed = [
    `${good}; ${good}`,
    `${cookie(theirs.value, SESSION.toUpperCase())}; ${good}`,
    `${cookie(theirs.value, `__Secure-${SESSION}`)}; ${good}`,
    `${cookie(theirs.value, `${SESSION}.0`)}; ${good}`,
    `${good}; x${other}`,
  ];
  let swaps = 0;
  for (const gateway of [here, there])
    for (const header of passed) {
      const answer = await send(`${gateway.url}/api/x`, { headers: { cookie: header } });
      if ((await answer.json()).headers?.['x-forwarded-user'] !== mine.userId) swaps++;
    }
  report(context, { headers: refused.length + passed.length, swaps: swaps + faults.length });
  expect([faults, swaps]).toEqual([[], 0]);
});

test('a session whose time is over opens nothing, with its JWE cookie or without', async () => {
  const { value, jwe, token } = await signedIn();
  const over = new Date(Date.now() - 1000).toISOString();
  await here.store.query(`update session set "expiresAt" = $1 where token = $2`, over, token);
  for (const gateway of [here, there])
    for (const header of [cookie(value), `${cookie(value)}; ${cookie(jwe, JWE)}`]) {
      await expect.poll(() => opened(header, gateway), { timeout: 2000 }).toEqual([]);
      expect(await opened(header, gateway, '/api/user-scopes')).toEqual([]);
    }
});

describe('after a sign-out', () => {
  const CHUNKS = [`${JWE}.0`, `${JWE}.1`, 'better-auth.account_data', 'better-auth.account_data.0'];

  test(
    'the cookies open nothing at either gateway, and every one of them is cleared',
    UNHURRIED,
    async (context) => {
      const startedAt: number[] = [];
      const effects: number[] = [];
      let replays = 0;
      for (let time = 0; time < scale({ quick: 10, full: 200 }); time++) {
        const { client, value, jwe } = await signedIn();
        const kept = new Map([...client.cookies, ...CHUNKS.map((name) => [name, 'x'] as const)]);
        const [at, elsewhere] = time % 2 ? [here, there] : [there, here];
        const sent: SendOptions = {
          ...(post() as SendOptions),
          headers: { cookie: cookieHeader(kept), 'content-type': 'application/json' },
        };
        const response = await send(`${at.url}/api/auth/sign-out`, sent);
        startedAt.push(performance.now());
        expect(response.status).toBe(200);
        const cleared = response.headers.getSetCookie();
        for (const line of cleared) expect(line).toMatch(/^[^=]+=;.*Max-Age=0/i);
        expect(cleared.map((line) => line.split('=', 1)[0])).toEqual(
          expect.arrayContaining([...kept.keys()]),
        );
        const headers = [
          cookie(value),
          `${cookie(value)}; ${cookie(jwe, JWE)}`,
          cookie(jwe, JWE),
          cookieHeader(kept),
        ];
        await expect.poll(() => opened(cookie(value), elsewhere), { interval: 1 }).toEqual([]);
        effects.push(performance.now() - (startedAt.at(-1) ?? 0));
        for (const gateway of [at, elsewhere])
          for (const header of headers) {
            replays += (await opened(header, gateway)).length;
            const told = await send(`${gateway.url}/api/auth/get-session`, { headers: { cookie: header } });
            if ((await told.json()) !== null) replays++;
          }
      }
      report(context, { accepted: replays, maxMs: Math.max(...effects) });
      expect(replays).toBe(0);
    },
  );
});
