// Who is this person here? Finds or creates the person of a GitHub id, and keeps what the sign-in brought.
// Both ways of signing in end here, so that they cannot come to differ.
import { generateRandomString } from 'better-auth/crypto';
import type { Kysely } from 'kysely';
import { type Database, millisOf } from '../database/database.ts';
import { isStoreFailure } from '../database/failures.ts';
import { writeCheck } from '../database/github-checks.ts';
import type { Tables, UserTable } from '../database/tables.ts';
import { GatewayError } from '../errors.ts';
import {
  type AdmissionRules,
  admitsEveryone,
  askedFor,
  isNamed,
  membershipRefusal,
  needsMemberships,
  standingOf,
} from '../policy/admission.ts';
import { type Ban, banFields, isBanned } from '../policy/session.ts';
import type { GitHubClient, GitHubPerson, Grant } from './github.ts';
import { membershipColumns, type Profile, scopesOf, writeProfile } from './github-profile.ts';
import { oneAtATime } from './one-at-a-time.ts';
import type { TokenCipher } from './token-cipher.ts';

/** Records a sign-in and returns the person's user id. */
export type RecordSignIn = (person: GitHubPerson, grant: Grant) => Promise<string>;

export interface PeopleOptions {
  readonly database: Database;
  readonly cipher: TokenCipher;
  /** GitHub logins that get the role admin. */
  readonly admins: readonly string[];
  /** Who may sign in. */
  readonly rules: AdmissionRules;
  readonly readMemberships: GitHubClient['readMemberships'];
  /** Told after the account of a person has changed. */
  readonly onUserChanged: (userId: string) => Promise<void>;
}

/**
 * One transaction: a person, an account and a profile, or nothing.
 *
 * The returned function throws a {@link GatewayError}: membership-missing, user-banned, email-in-use,
 * session-store-unavailable.
 */
export function signInRecorder(options: PeopleOptions): RecordSignIn {
  const { database, cipher, onUserChanged } = options;
  const admins = new Set(options.admins.map((login) => login.toLowerCase()));
  const inTurn = oneAtATime();
  return async (person, grant) => {
    const login = person.login.toLowerCase();
    const memberships = await admit(person, grant, options);
    const mustBeTheSame = admins.has(login) || isNamed(options.rules, login);
    const account = await accountColumns(database, cipher, person, grant);
    const record = async (transaction: Kysely<Tables>) => {
      // Parallel first sign-ins of one person must not make two; other gateways sign in, too.
      await database.lockInTransaction(transaction, `github:${person.id}`);
      const known = await findByGitHubId(transaction, person.id);
      if (known) refuseBanned(known);
      if (mustBeTheSame && (await wasSomebodyElse(transaction, person)))
        throw new GatewayError('membership-missing', LOGIN_CHANGED_HANDS);
      const user = known ?? (await createUser(database, transaction, person));
      await writeAccount(transaction, user.id, person.id, account);
      await writeProfile(database, transaction, user.id, profileOf(person, grant));
      if (memberships !== null)
        await writeCheck(database, transaction, user.id, { refusedToken: null, ...memberships });
      if (admins.has(login)) await makeAdmin(transaction, user);
      return user.id;
    };
    const userId = await inTurn(person.id, () => inTransaction(database, record));
    await onUserChanged(userId);
    return userId;
  };
}

/**
 * What the person belongs to, of what the lists ask for; null when that does not matter.
 *
 * @throws {GatewayError} membership-missing; what readMemberships throws
 */
async function admit(person: GitHubPerson, grant: Grant, { rules, readMemberships }: PeopleOptions) {
  if (admitsEveryone(rules) || isNamed(rules, person.login)) return null;
  const of = { organizations: rules.organizations.length > 0, teams: rules.teams.length > 0 };
  const found = needsMemberships(rules) ? await readMemberships(grant.accessToken, of) : [];
  const memberships = { of: found, asked: askedFor(rules), at: Date.now() };
  if (standingOf(rules, { login: person.login, memberships }) === 'admitted')
    return membershipColumns(found, rules);
  const { code, ...refusal } = membershipRefusal(rules, scopesOf(person, grant));
  throw new GatewayError(code, refusal);
}

function profileOf(person: GitHubPerson, grant: Grant): Profile {
  const { id: githubId, login, tokenKind } = person;
  const tokenExpiresAt = person.tokenExpiresAt ?? grant.expiresAt;
  return { githubId, login, tokenKind, tokenExpiresAt, scopesKnown: scopesOf(person, grant) !== null };
}

const LOGIN_CHANGED_HANDS = {
  detail: 'Your GitHub login belonged to somebody else here before. Ask the operator of this gateway.',
};

/** GitHub gives a login that was freed to whoever asks: one the configuration names must not bring its rights along. */
export async function wasSomebodyElse(
  transaction: Kysely<Tables>,
  person: Pick<GitHubPerson, 'id' | 'login'>,
): Promise<boolean> {
  const other = await transaction
    .selectFrom('gateway_github_profile')
    .where((where) => where(where.fn<string>('lower', ['login']), '=', person.login.toLowerCase()))
    .where('githubId', '!=', person.id)
    .select('userId')
    .executeTakeFirst();
  return other !== undefined;
}

type KnownUser = Pick<UserTable, 'id' | 'role' | 'banned' | 'banReason' | 'banExpires'>;

const KNOWN_COLUMNS = ['user.id', 'user.role', 'user.banned', 'user.banReason', 'user.banExpires'] as const;

function findByGitHubId(transaction: Kysely<Tables>, githubId: string): Promise<KnownUser | undefined> {
  return transaction
    .selectFrom('account')
    .innerJoin('user', 'user.id', 'account.userId')
    .where('account.providerId', '=', 'github')
    .where('account.accountId', '=', githubId)
    .select(KNOWN_COLUMNS)
    .executeTakeFirst();
}

/** A verified e-mail proves nothing about who had it before: people are matched on the GitHub id alone. */
async function createUser(
  database: Database,
  transaction: Kysely<Tables>,
  person: GitHubPerson,
): Promise<KnownUser> {
  const holder = await transaction
    .selectFrom('user')
    .where((where) => where(where.fn<string>('lower', ['user.email']), '=', person.email))
    .select('user.id')
    .executeTakeFirst();
  if (holder) throw new GatewayError('email-in-use');
  const now = database.date(Date.now());
  const user = { id: newId(), role: 'user' };
  await transaction
    .insertInto('user')
    .values({
      ...user,
      name: person.name,
      email: person.email,
      emailVerified: database.kind === 'sqlite' ? 1 : true,
      image: person.avatarUrl,
      createdAt: now,
      updatedAt: now,
    })
    .execute();
  // Whether they are banned is left to the column: an application may not have it null.
  return { ...user, banned: null, banReason: null, banExpires: null };
}

type AccountColumns = Awaited<ReturnType<typeof accountColumns>>;

/** Every column is written: what an earlier sign-in of another kind left must not outlive it. */
async function accountColumns(database: Database, cipher: TokenCipher, person: GitHubPerson, grant: Grant) {
  const date = (millis: number | null) => (millis === null ? null : database.date(millis));
  return {
    accessToken: await cipher.encrypt(grant.accessToken),
    refreshToken: grant.refreshToken === null ? null : await cipher.encrypt(grant.refreshToken),
    idToken: null,
    accessTokenExpiresAt: date(grant.expiresAt),
    refreshTokenExpiresAt: date(grant.refreshExpiresAt),
    scope: (scopesOf(person, grant) ?? []).join(','),
    updatedAt: database.date(Date.now()),
  };
}

async function writeAccount(
  transaction: Kysely<Tables>,
  userId: string,
  githubId: string,
  columns: AccountColumns,
): Promise<void> {
  const updated = await transaction
    .updateTable('account')
    .set(columns)
    .where('providerId', '=', 'github')
    .where('accountId', '=', githubId)
    .executeTakeFirst();
  if (updated.numUpdatedRows > 0n) return;
  const keys = { id: newId(), providerId: 'github', accountId: githubId, userId };
  await transaction
    .insertInto('account')
    .values({ ...keys, ...columns, createdAt: columns.updatedAt })
    .execute();
}

async function makeAdmin(transaction: Kysely<Tables>, user: KnownUser): Promise<void> {
  const roles = (user.role ?? 'user').split(',').map((role) => role.trim());
  if (roles.includes('admin')) return;
  const others = roles.filter((role) => role !== 'user');
  const role = [...others, 'admin'].join(',');
  await transaction.updateTable('user').set({ role }).where('id', '=', user.id).execute();
}

function refuseBanned(user: KnownUser): void {
  const ban: Ban | null = user.banned
    ? { reason: user.banReason, expiresAt: millisOf(user.banExpires) }
    : null;
  if (!isBanned(ban, Date.now())) return;
  throw new GatewayError('user-banned', { fields: banFields(ban) });
}

async function inTransaction<T>(
  database: Database,
  work: (transaction: Kysely<Tables>) => Promise<T>,
): Promise<T> {
  try {
    return await database.kysely.transaction().execute(work);
  } catch (error) {
    if (error instanceof GatewayError || !isStoreFailure(error)) throw error;
    throw new GatewayError('session-store-unavailable', { cause: error });
  }
}

/** As Better Auth makes its ids. */
function newId(): string {
  return generateRandomString(32, 'a-z', 'A-Z', '0-9');
}
