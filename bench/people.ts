// Many people with sessions, written into the gateway's stores at once, and the cookies they would hold.
import { createHash, createHmac } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { symmetricEncodeJWT } from 'better-auth/crypto';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { cookieHeader } from './cookies.ts';

export const SECRET = 'a-secret-for-benchmarks-0123456789abcdef';
const SESSIONS_PER_PERSON = 10;
const LIFE_SECONDS = 7 * 24 * 60 * 60;
const SECRET_COOKIE = 'better-auth.session_token';

/** Everybody gets the account, the token and the scopes of the person who has signed in. */
export async function addSessions(databaseUrl: string, count: number): Promise<void> {
  const people = Math.ceil(count / SESSIONS_PER_PERSON);
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    // Triggers would tell every gateway of every row.
    await client.query('set session_replication_role = replica');
    for (const statement of INSERTS) await client.query(statement, [people]);
    await client.query(SESSION_INSERT, [count, people]);
    await client.query('analyze');
  } finally {
    await client.end();
  }
}

const INSERTS = [
  `insert into "user" (id, name, email, "emailVerified", role, "createdAt", "updatedAt")
    select 'person-' || n, 'Person Number ' || n, 'person-' || n || '@example.com', true, 'user', now(), now()
    from generate_series(0, $1::int - 1) as n`,
  `insert into account (id, "accountId", "providerId", "userId", "accessToken", scope, "createdAt", "updatedAt")
    select 'account-' || n, 10000000 + n, 'github', 'person-' || n, a."accessToken", a.scope, now(), now()
    from generate_series(0, $1::int - 1) as n, (select * from account limit 1) as a`,
  `insert into gateway_github_profile ("userId", "githubId", login, "tokenKind", "scopesKnown", "updatedAt")
    select 'person-' || n, 10000000 + n, 'person-' || n, 'classic', 1, now() from generate_series(0, $1::int - 1) as n`,
];

const SESSION_INSERT = `
  insert into session (id, token, "userId", "expiresAt", "createdAt", "updatedAt")
    select 'session-' || n, md5('session ' || n), 'person-' || (n % $2::int), now() + interval '7 days', now(), now()
    from generate_series(0, $1::int - 1) as n`;

/**
 * As many entries as there are sessions, of the size that real ones have. They are nobody's: an entry is sealed for
 * its key, so that those of sessions that are asked for come from the gateway itself.
 */
export async function fillRedis(redisUrl: string, count: number): Promise<void> {
  const redis = new Redis(redisUrl);
  try {
    await redis.eval(FILL, 1, await anyEntry(redis), count);
  } finally {
    redis.disconnect();
  }
}

const FILL = `
  local entry = redis.call('get', KEYS[1])
  for n = 1, tonumber(ARGV[1]) do
    redis.call('set', 'gateway:session:' .. redis.sha1hex(n) .. string.rep('0', 24), entry, 'EX', 7200)
  end`;

/** The gateway writes without being waited for. */
async function anyEntry(redis: Redis): Promise<string> {
  for (const deadline = Date.now() + 5000; Date.now() < deadline; await sleep(20)) {
    const [key] = await redis.keys('gateway:session:*');
    if (key !== undefined) return key;
  }
  throw new Error('The gateway has cached no session that could be copied');
}

/** Cookie headers of the sessions `addSessions` has written, from the n-th on. */
export async function cookiesOfSessions(from: number, count: number): Promise<string[]> {
  const numbers = Array.from({ length: count }, (_, at) => from + at);
  return Promise.all(numbers.map(cookiesOfSession));
}

async function cookiesOfSession(n: number): Promise<string> {
  const token = createHash('md5').update(`session ${n}`).digest('hex');
  const jwe = await symmetricEncodeJWT(sessionData(n, token), SECRET, 'better-auth-session', LIFE_SECONDS);
  return cookieHeader(`${SECRET_COOKIE}=${signed(token)}; better-auth.session_data=${jwe}`);
}

function signed(token: string): string {
  return encodeURIComponent(`${token}.${createHmac('sha256', SECRET).update(token).digest('base64')}`);
}

/** What Better Auth puts into its JWE cookie. */
function sessionData(n: number, token: string) {
  const [now, ends] = [new Date(), new Date(Date.now() + LIFE_SECONDS * 1000)];
  const times = { createdAt: now, updatedAt: now };
  const id = `person-${n}`;
  return {
    session: {
      id: `session-${n}`,
      token,
      userId: id,
      expiresAt: ends,
      ipAddress: '',
      userAgent: '',
      ...times,
    },
    user: {
      id,
      name: `Person Number ${n}`,
      email: `${id}@example.com`,
      emailVerified: true,
      role: 'user',
      ...times,
    },
    updatedAt: now.getTime(),
    version: '1',
  };
}
