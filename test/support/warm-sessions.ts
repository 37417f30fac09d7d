// A process of its own, run with --expose-gc: puts sessions into the memory of a ladder, as requests do, and says on
// stdout what each weighs. Arguments: how many, and a folder for the store.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createTokenCipher } from '../../src/auth/token-cipher.ts';
import { loadConfig } from '../../src/config/load.ts';
import { openDatabase } from '../../src/database/database.ts';
import { migrateStore } from '../../src/gateway/commands.ts';
import { identityHeaders } from '../../src/policy/identity.ts';
import type { Session } from '../../src/policy/session.ts';
import { cookieFinder, sign, tokenVerifier } from '../../src/sessions/cookie.ts';
import { createLocalTier } from '../../src/sessions/local.ts';
import { createLookup } from '../../src/sessions/lookup.ts';
import { createRevocationLog } from '../../src/sessions/revocation-log.ts';
import { storeReader, together } from '../../src/sessions/store.ts';
import { publicSessionHash } from '../../src/sessions/token-hash.ts';

const NAME = 'better-auth.session_token';
const HEADER_LENGTH = 1400;
const [count, dataDir] = [Number(process.argv[2]), String(process.argv[3])];
const config = loadConfig({
  ...process.env,
  DATA_DIR: dataDir,
  PORT: '1',
  BETTER_AUTH_URL: 'http://127.0.0.1:1',
});
const secret = config.secrets[0]?.value ?? '';
const cipher = createTokenCipher({ ...config, format: 'aes-256-gcm' });
await migrateStore(config);
await fill();

const log = createRevocationLog();
const database = openDatabase(config);
const local = createLocalTier({ log, freshMs: () => 600_000, staleIfErrorMs: 600_000 });
const lookUp = createLookup({
  findCookie: cookieFinder(NAME),
  verifyToken: tokenVerifier([secret]),
  local,
  shared: null,
  readStore: together(storeReader(database)),
  readFallback: () => null,
  log,
  health: { failed: () => {}, answered: () => {}, isAway: () => false },
  hearsChanges: () => true,
});
/** As the gateway keeps them beside each session: headers for one upstream, the token in them. */
const identities = new WeakMap<Session, string[]>();

// What is made once, however many come, is there before it is weighed.
const WARM_UP = 500;
for (let at = 0; at < WARM_UP; at++) await visit(at, true);
const before = weigh();
for (let at = WARM_UP; at < count; at++) await visit(at, false);
const sessions = (weigh() - before) / (count - WARM_UP);
for (let at = WARM_UP; at < count; at++) await visit(at, true);
const withIdentity = (weigh() - before) / (count - WARM_UP);
process.stdout.write(JSON.stringify({ kept: local.size, bytesPerSession: sessions, withIdentity }));
await database.close();

async function visit(at: number, announces: boolean): Promise<void> {
  const lookup = await lookUp(cookieHeader(at));
  if (lookup.outcome !== 'found') throw new Error(`session ${at} is ${lookup.outcome}`);
  if (!announces || identities.has(lookup.session)) return;
  const { session } = lookup;
  const headers = identityHeaders(session, 'oauth2-proxy', publicSessionHash(session.id));
  const token = await cipher.decrypt(session.github?.encryptedToken ?? '');
  identities.set(session, [...headers, 'X-Forwarded-Access-Token', token]);
}

function weigh(): number {
  for (let round = 0; round < 5; round++) globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** As it comes from the wire: one flat text, ours somewhere in it. */
function cookieHeader(at: number): string {
  const ours = `${NAME}=${sign(name('token', at), secret)}`;
  const jwe = `better-auth.session_data=${name('jwe', at).repeat(30)}`;
  const text = `_ga=GA1.1.1234567890.1234567890; theme=dark; ${ours}; ${jwe}; `;
  return Buffer.from(text.padEnd(HEADER_LENGTH, 'x'), 'latin1').toString('latin1');
}

/** 32 characters, as Better Auth's own, always the same for the same. */
function name(kind: string, at: number): string {
  return createHash('sha256').update(`${kind} ${at}`).digest('base64url').replace(/[-_]/g, 'x').slice(0, 32);
}

async function fill(): Promise<void> {
  const file = new DatabaseSync(join(dataDir, 'gateway.sqlite'));
  const now = new Date().toISOString();
  const ends = new Date(Date.now() + 7 * 86_400_000).toISOString();
  const user = file.prepare(
    `insert into "user" (id, name, email, "emailVerified", role, banned, "createdAt", "updatedAt") values (?, ?, ?, 1, 'user', 0, ?, ?)`,
  );
  const session = file.prepare(
    `insert into session (id, token, "userId", "expiresAt", "createdAt", "updatedAt") values (?, ?, ?, ?, ?, ?)`,
  );
  const account = file.prepare(
    `insert into account (id, "accountId", "providerId", "userId", scope, "accessToken", "createdAt", "updatedAt") values (?, ?, 'github', ?, ?, ?, ?, ?)`,
  );
  const profile = file.prepare(
    `insert into gateway_github_profile ("userId", "githubId", login, "tokenKind", "scopesKnown", "updatedAt") values (?, ?, ?, 'oauth', 1, ?)`,
  );
  file.exec('begin');
  for (let at = 0; at < count; at++) {
    const [id, githubId] = [name('user', at), String(10_000_000 + at)];
    const token = await cipher.encrypt(`gho_${name('github', at)}1234`);
    user.run(id, `Person Number ${at}`, `person-number-${at}@example.com`, now, now);
    session.run(name('session', at), name('token', at), id, ends, now, now);
    account.run(name('account', at), githubId, id, 'public_repo,read:user,user:email', token, now, now);
    profile.run(id, githubId, `person-number-${at}`, now);
  }
  file.exec('commit');
  file.close();
}
