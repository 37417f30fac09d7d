// What does GitHub say of a person now: is their token good, what may it do, what do they belong to? Asked after the
// sign-in, once at a time for each person, whoever wants to know.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import { type Database, millisOf } from '../database/database.ts';
import { isRefused, nameOfToken, namesOf, writeCheck } from '../database/github-checks.ts';
import type { Tables } from '../database/tables.ts';
import { GatewayError } from '../errors.ts';
import { type AdmissionRules, askedFor, isNamed, needsMemberships } from '../policy/admission.ts';
import type { Session } from '../policy/session.ts';
import type { GitHubClient, TokenOwner } from './github.ts';
import { membershipColumns, scopesOf, writeProfile } from './github-profile.ts';
import type { ReadGitHubToken } from './github-token.ts';
import { oneAtATime } from './one-at-a-time.ts';
import { wasSomebodyElse } from './people.ts';
import { restAfterOutage } from './rest.ts';
import type { TokenCipher } from './token-cipher.ts';

/** What was found: GitHub takes the token, or takes it no longer. */
export type Checked = 'good' | 'refused';

/**
 * Asks GitHub and keeps what it says, unless somebody has since this moment (epoch milliseconds; now unless given).
 *
 * Throws a {@link GatewayError}: reauth-required without a token to ask with, github-unavailable,
 * session-store-unavailable.
 */
export type CheckAccount = (session: Session, since?: number) => Promise<Checked>;

export interface AccountCheckOptions {
  readonly database: Database;
  readonly client: Pick<GitHubClient, 'readOwner' | 'readMemberships'>;
  readonly cipher: Pick<TokenCipher, 'decrypt'>;
  readonly readToken: ReadGitHubToken;
  readonly rules: AdmissionRules;
  /** GitHub logins that get the role admin. */
  readonly admins: readonly string[];
  /** Told after what is kept of a person has changed. */
  readonly onUserChanged: (userId: string) => Promise<void>;
}

/** Longer than GitHub may take to answer another gateway. */
const LONGEST_WAIT_MS = 8000;
const LOOK_AGAIN_MS = 50;
/** Each holds a connection to the database while GitHub is asked. */
const MOST_AT_ONCE = 3;

export function accountChecker(options: AccountCheckOptions): CheckAccount {
  const inTurn = oneAtATime();
  const orRest = restAfterOutage();
  const flights = new Map<string, Promise<Checked>>();
  let turn = 0;
  return (session, since = Date.now()) => {
    const running = flights.get(session.userId);
    if (running) return running;
    const flight = inTurn(String(turn++ % MOST_AT_ONCE), () => orRest(() => check(session, since, options)))
      .catch((cause: unknown) => {
        throw cause instanceof GatewayError
          ? cause
          : new GatewayError('session-store-unavailable', { cause });
      })
      .finally(() => flights.delete(session.userId));
    flights.set(session.userId, flight);
    return flight;
  };
}

async function check(session: Session, since: number, options: AccountCheckOptions): Promise<Checked> {
  const { database, readToken } = options;
  // Replaces one that has ended, under a lock of its own.
  if (session.github?.tokenRefused !== true) await readToken(session);
  const deadline = performance.now() + LONGEST_WAIT_MS;
  for (;;) {
    const found = await database.withLock(`github-check:${session.userId}`, () =>
      checkLocked(session.userId, since, options),
    );
    if (found !== null) return found;
    // Another gateway is at it.
    if (performance.now() > deadline) throw new GatewayError('github-unavailable', { status: 503 });
    await sleep(LOOK_AGAIN_MS);
  }
}

async function checkLocked(userId: string, since: number, options: AccountCheckOptions): Promise<Checked> {
  const known = await readKnown(options.database, userId);
  if (!known?.accessToken) throw new GatewayError('reauth-required');
  const refused = isRefused(known.accessToken, known.refusedToken);
  if (isAnswered(known, since, options.rules)) {
    // Of what another gateway was told this one may not have heard yet.
    await options.onUserChanged(userId);
    return refused ? 'refused' : 'good';
  }
  const token = await options.cipher.decrypt(known.accessToken).catch((cause: unknown) => {
    throw new GatewayError('reauth-required', { cause });
  });
  const said = await ask(token, options);
  const changed = await options.database.kysely.transaction().execute(async (transaction) => {
    // Whoever has signed in meanwhile has brought a token of their own.
    if (!(await isStillStored(transaction, known))) return false;
    return keep(transaction, known, said, options);
  });
  if (changed) await options.onUserChanged(userId);
  return said === null ? 'refused' : 'good';
}

interface Said {
  readonly owner: TokenOwner;
  /** Null when it was not asked. */
  readonly memberships: readonly string[] | null;
}

/** @returns null when GitHub takes the token no longer */
async function ask(token: string, { client, rules }: AccountCheckOptions): Promise<Said | null> {
  const of = { organizations: rules.organizations.length > 0, teams: rules.teams.length > 0 };
  try {
    const [owner, memberships] = await Promise.all([
      client.readOwner(token),
      needsMemberships(rules) ? client.readMemberships(token, of) : null,
    ]);
    return { owner, memberships };
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'github-token-invalid') return null;
    // "Forbidden" may be a firewall's word as well: only "bad credentials" speaks against a token.
    if (error instanceof GatewayError && error.code === 'github-access-denied')
      throw new GatewayError('github-unavailable', { status: 503, cause: error });
    throw error;
  }
}

type Known = NonNullable<Awaited<ReturnType<typeof readKnown>>>;

function readKnown({ kysely }: Database, userId: string) {
  return kysely
    .selectFrom('account')
    .leftJoin('gateway_github_profile as profile', 'profile.userId', 'account.userId')
    .leftJoin('gateway_github_check as check', 'check.userId', 'account.userId')
    .where('account.providerId', '=', 'github')
    .where('account.userId', '=', userId)
    .select(['account.id', 'account.userId', 'account.accountId', 'account.accessToken', 'account.scope'])
    .select(['account.accessTokenExpiresAt', 'profile.login', 'profile.scopesKnown', 'profile.tokenKind'])
    .select(['check.refusedToken', 'check.memberships', 'check.membershipsAsked', 'check.checkedAt'])
    .orderBy('account.updatedAt', 'desc')
    .executeTakeFirst();
}

function isAnswered(known: Known, since: number, rules: AdmissionRules): boolean {
  if (known.checkedAt === null || millisOf(known.checkedAt) < since) return false;
  const asked = namesOf(known.membershipsAsked);
  return askedFor(rules).every((name) => asked.includes(name));
}

async function isStillStored(transaction: Kysely<Tables>, known: Known): Promise<boolean> {
  const same = await transaction
    .selectFrom('account')
    .where('id', '=', known.id)
    .where('accessToken', '=', known.accessToken)
    .select('id')
    .executeTakeFirst();
  return same !== undefined;
}

/** @returns whether anything is different now */
async function keep(
  transaction: Kysely<Tables>,
  known: Known,
  said: Said | null,
  options: AccountCheckOptions,
): Promise<boolean> {
  const { database, rules } = options;
  const { userId, memberships, membershipsAsked } = known;
  if (said === null) {
    const refusedToken = nameOfToken(known.accessToken ?? '');
    return writeCheck(database, transaction, userId, { refusedToken, memberships, membershipsAsked });
  }
  // Somebody else's token, put there by another hand, says nothing of this person.
  const isTheirs = said.owner.id === known.accountId;
  const isOther = isTheirs && (await keepOwner(transaction, known, said.owner, options));
  const isNews = await writeCheck(database, transaction, userId, {
    refusedToken: null,
    ...membershipColumns(isTheirs ? said.memberships : said.memberships && [], rules),
  });
  return isOther || isNews;
}

/** A new login is taken, unless a sign-in with it would be refused. */
async function mayBeNamed(
  transaction: Kysely<Tables>,
  known: Known,
  owner: TokenOwner,
  { rules, admins }: AccountCheckOptions,
): Promise<boolean> {
  const login = owner.login.toLowerCase();
  const isListed = isNamed(rules, login) || admins.some((each) => each.toLowerCase() === login);
  if (!isListed || known.login?.toLowerCase() === login) return true;
  return !(await wasSomebodyElse(transaction, owner));
}

async function keepOwner(
  transaction: Kysely<Tables>,
  known: Known,
  owner: TokenOwner,
  options: AccountCheckOptions,
): Promise<boolean> {
  const { database } = options;
  const login = (await mayBeNamed(transaction, known, owner, options)) ? owner.login : known.login;
  if (login === null) return false;
  const stored = namesOf((known.scope ?? '').replaceAll(',', ' '));
  const scopes = scopesOf(owner, { scopes: known.scopesKnown === 0 ? null : stored });
  const scope = (scopes ?? []).join(',');
  const ends = owner.tokenExpiresAt ?? millisOf(known.accessTokenExpiresAt);
  const isSame =
    known.login === login &&
    known.tokenKind === owner.tokenKind &&
    known.scopesKnown === (scopes === null ? 0 : 1) &&
    (scopes === null || stored.join(',') === scope) &&
    millisOf(known.accessTokenExpiresAt) === ends;
  if (isSame) return false;
  await transaction
    .updateTable('account')
    .set({
      scope,
      ...(owner.tokenExpiresAt !== null && { accessTokenExpiresAt: database.date(owner.tokenExpiresAt) }),
    })
    .where('id', '=', known.id)
    .execute();
  await writeProfile(database, transaction, known.userId, {
    githubId: owner.id,
    login,
    tokenKind: owner.tokenKind,
    tokenExpiresAt: ends,
    scopesKnown: scopes !== null,
  });
  return true;
}
