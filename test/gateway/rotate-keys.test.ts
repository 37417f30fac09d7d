// Every stored token is written anew under the current key, while people go on using them.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createTokenCipher } from '../../src/auth/token-cipher.ts';
import { sign } from '../../src/sessions/cookie.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { runCommand } from '../support/gateway-process.ts';
import { startLoad } from '../support/load.ts';
import { scale } from '../support/scale.ts';

const ACCOUNTS = scale({ quick: 1200, full: 100_000 });
const PEOPLE = 20;
const UNREADABLE = 3;
const REQUESTS_PER_SECOND = scale({ quick: 50, full: 100 });
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const [OLD, NEW] = [randomBytes(32), randomBytes(32)];
const KEYS = { GITHUB_TOKEN_KEYS: `new:${NEW.toString('base64')},old:${OLD.toString('base64')}` };

vi.setConfig({ testTimeout: scale({ quick: 60_000, full: 900_000 }) });

let gateway: TestGateway;
let cookies: string[];
beforeAll(async () => {
  gateway = await startTestGateway({ env: KEYS, logLevel: 'warn' });
  cookies = await addAccounts();
});
afterAll(() => gateway?.close());

const tokenOf = (at: number) => `gho_of_person_${at}`;

/** @returns the Cookie headers of the first people */
async function addAccounts(): Promise<string[]> {
  const { secrets } = gateway.config;
  const under = (format: 'aes-256-gcm' | 'better-auth') =>
    createTokenCipher({ tokenKeys: [{ id: 'old', key: OLD }], secrets, format });
  const [ours, theirs] = [under('aes-256-gcm'), under('better-auth')];
  const lost = createTokenCipher({
    ...{ tokenKeys: [{ id: 'lost', key: randomBytes(32) }], secrets },
    format: 'aes-256-gcm',
  });
  const cipherOf = (at: number) => (at >= ACCOUNTS - UNREADABLE ? lost : at % 10 === 7 ? theirs : ours);
  for (let from = 0; from < ACCOUNTS; from += 1000) {
    const numbers = Array.from({ length: Math.min(1000, ACCOUNTS - from) }, (_each, at) => from + at);
    const rows = await Promise.all(
      numbers.map(async (at) => ({
        id: `user-${at}`,
        accessToken: await cipherOf(at).encrypt(tokenOf(at)),
        refreshToken: at % 5 === 0 ? await cipherOf(at).encrypt(`ghr_of_person_${at}`) : null,
      })),
    );
    await gateway.store.query(
      `with person as (select * from json_to_recordset($1) as p (id text, "accessToken" text, "refreshToken" text)),
       added as (insert into "user" (id, name, email, "emailVerified", role, "createdAt", "updatedAt")
         select id, id, id || '@example.com', true, 'user', now(), now() from person)
       insert into account (id, "accountId", "providerId", "userId", scope, "accessToken", "refreshToken", "createdAt", "updatedAt")
       select 'account-' || id, id, 'github', id, 'repo', "accessToken", "refreshToken", now(), now() from person`,
      JSON.stringify(rows),
    );
  }
  const secret = secrets[0]?.value ?? '';
  return Promise.all(
    Array.from({ length: PEOPLE }, async (_each, at) => {
      const token = randomBytes(16).toString('hex');
      await gateway.store.query(
        `insert into session (id, token, "userId", "expiresAt", "createdAt", "updatedAt")
         values ($1, $2, $3, now() + interval '7 days', now(), now())`,
        ...[`session-${at}`, token, `user-${at}`],
      );
      return `better-auth.session_token=${sign(token, secret)}`;
    }),
  );
}

const env = () => ({
  ...KEYS,
  DATABASE_URL: gateway.config.databaseUrl ?? '',
  BETTER_AUTH_SECRET: gateway.config.secrets[0]?.value ?? '',
  BETTER_AUTH_URL: gateway.url,
});

async function countUnder(prefix: string): Promise<number> {
  const [row] = await gateway.store.query<{ count: string }>(
    `select count(*) as count from account where "accessToken" like $1 and coalesce("refreshToken", $1) like $1`,
    `${prefix}%`,
  );
  return Number(row?.count);
}

test('ended in the middle, it goes on where it was; nobody notices, and what no key opens stays as it is', async (context) => {
  let next = 0;
  const load = startLoad({
    gateways: [gateway.url],
    perSecond: REQUESTS_PER_SECOND,
    nextCookie: () => cookies[next++ % PEOPLE],
  });
  const first = spawn(process.execPath, [MAIN, 'rotate-keys'], {
    env: { PATH: process.env.PATH, ...env() },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(first.stdout, 'data');
  first.kill('SIGKILL');
  await once(first, 'close');
  const half = await countUnder('v1.new.');
  const startedAt = performance.now();
  const { code, output } = await runCommand(['rotate-keys'], env());
  const seconds = (performance.now() - startedAt) / 1000;
  const samples = await load.stop();
  const failed = samples.filter(({ status }) => status !== 200).length;
  report(context, { accounts: ACCOUNTS, requests: samples.length, failed, seconds: Math.round(seconds) });
  expect([half > 0, half < ACCOUNTS]).toEqual([true, true]);
  expect([code, output]).toEqual([1, expect.stringContaining(`${UNREADABLE} accounts hold tokens`)]);
  expect(output).toContain(`${ACCOUNTS} of ${ACCOUNTS} accounts.`);
  expect(await countUnder('v1.new.')).toBe(ACCOUNTS - UNREADABLE);
  expect(await countUnder('v1.lost.')).toBe(UNREADABLE);
  expect(failed).toBe(0);
  expect(output).not.toContain('gho_');
  await expectNewKeyOpensAll();
  const again = await runCommand(['rotate-keys'], env());
  expect(again.output).toContain('0 accounts were written anew.');
});

/** Each token is still its person’s, with the new key alone. */
async function expectNewKeyOpensAll(): Promise<void> {
  const alone = await gateway.another({
    BETTER_AUTH_URL: gateway.url,
    GITHUB_TOKEN_KEYS: `new:${NEW.toString('base64')}`,
  });
  try {
    for (const [at, cookie] of cookies.entries()) {
      const response = await fetch(`${alone.url}/api/x`, { headers: { cookie } });
      const { headers } = (await response.json()) as { headers: Record<string, string> };
      expect(headers['x-forwarded-access-token']).toBe(tokenOf(at));
    }
  } finally {
    await alone.close();
  }
}
