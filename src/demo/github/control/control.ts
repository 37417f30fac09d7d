import type { Email, Membership, Person } from '../person.ts';
import { normalizeScopes } from '../scopes.ts';
import { resetState, type State } from '../state.ts';
import { type BrowserVisit, visitAuthorizePage } from './browser.ts';
import type { FailureKind, FailureOptions } from './failures.ts';
import type { RequestCounter } from './request-counter.ts';

export interface PersonalTokenOptions {
  login: string;
  kind: 'classic' | 'fine-grained';
  /** Classic: the scopes, none by default. Fine-grained: what it may do, everything by default; never told to a client. */
  scopes?: string[];
  expiresAt?: Date;
}

/** What a test or a demo may do to the stand-in from inside its process. */
export interface Control {
  /** Makes a personal access token and returns its text. */
  issueToken(options: PersonalTokenOptions): string;
  /** Ends a token of any kind; a refresh token takes its access token along. @throws when there is no such token. */
  revoke(token: string): void;
  /** Lets an access or refresh token be past its end. @throws when there is no such token. */
  expire(token: string): void;
  /** Edits what a token may do, as its owner can with a classic one. @throws when there is no such token. */
  setScopes(token: string, scopes: string[]): void;
  /** Ends every token somebody gave the application, as revoking it under "Authorized apps" does. */
  revokeGrant(login: string): void;
  rename(login: string, newLogin: string): void;
  setEmails(login: string, emails: Email[]): void;
  /** Replaces what somebody belongs to. */
  setMemberships(login: string, memberships: Membership[]): void;
  addPerson(person: Person): void;
  /** Plays the browser at the authorize page for `url` and returns the Location it ends at. */
  authorize(visit: BrowserVisit): Promise<string>;
  /** Makes the next requests fail: see FailureOptions for which. Several failures apply in the order they were added. */
  fail(kind: FailureKind, options?: FailureOptions): void;
  heal(): void;
  readonly requests: Pick<RequestCounter, 'count' | 'total' | 'byRoute'>;
  /** Refresh grants asked for, successful or not. */
  readonly refreshes: number;
  readonly refusedRefreshes: number;
  /** Forgets tokens, codes, counts and failures and brings the first people back; the registered app stays. */
  reset(): void;
}

export function createControl(state: State): Control {
  const { people, tokens, failures, requests, refreshes } = state;
  return {
    issueToken: (options) => issuePersonalToken(state, options),
    revoke: (token) => tokens.revoke(token),
    expire: (token) => tokens.expire(token),
    setScopes: (token, scopes) => tokens.setScopes(token, normalizeScopes(scopes)),
    revokeGrant: (login) => tokens.revokeGrant(people.require(login).id, state.app.clientId),
    rename: (login, newLogin) => people.rename(login, newLogin),
    setEmails: (login, emails) => people.setEmails(login, emails),
    setMemberships: (login, memberships) => people.setMemberships(login, memberships),
    addPerson: (person) => people.add(person),
    authorize: visitAuthorizePage,
    fail: (kind, options) => failures.add({ ...options, kind }),
    heal: () => failures.heal(),
    requests,
    get refreshes() {
      return refreshes.asked;
    },
    get refusedRefreshes() {
      return refreshes.refused;
    },
    reset: () => resetState(state),
  };
}

function issuePersonalToken(state: State, { login, kind, scopes, expiresAt }: PersonalTokenOptions): string {
  const everything = kind === 'fine-grained' && scopes === undefined;
  return state.tokens.issueToPerson({
    personId: state.people.require(login).id,
    kind,
    scopes: everything ? null : normalizeScopes(scopes ?? []),
    expiresAt: expiresAt?.getTime() ?? null,
  }).text;
}
