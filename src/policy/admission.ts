// Who may be here? Lists of logins, organizations and teams, held against what is known of a person. Pure.
import { missingScopes } from './scopes.ts';
import type { GitHubAccount, Restriction } from './session.ts';

/** Lower case; whoever is on one of the lists may enter, and everyone when all of them are empty. */
export interface AdmissionRules {
  readonly logins: ReadonlySet<string>;
  readonly organizations: readonly string[];
  /** `organization/slug` */
  readonly teams: readonly string[];
}

/** Lets GitHub tell of private memberships. */
export const MEMBERSHIP_SCOPE = 'read:org';

export type Standing = 'admitted' | 'missing' | 'unknown';

export function readAdmissionRules(lists: {
  readonly logins: readonly string[];
  readonly organizations: readonly string[];
  readonly teams: readonly string[];
}): AdmissionRules {
  const lower = (names: readonly string[]) => names.map((name) => name.toLowerCase());
  return {
    logins: new Set(lower(lists.logins)),
    organizations: lower(lists.organizations),
    teams: lower(lists.teams),
  };
}

export function admitsEveryone({ logins, organizations, teams }: AdmissionRules): boolean {
  return logins.size + organizations.length + teams.length === 0;
}

/** Must GitHub be asked what people belong to? */
export function needsMemberships({ organizations, teams }: AdmissionRules): boolean {
  return organizations.length + teams.length > 0;
}

/** Names of the memberships that are asked for. */
export function askedFor({ organizations, teams }: AdmissionRules): string[] {
  return [...organizations, ...teams];
}

/** What is known decides; what was never asked is unknown: the lists may have changed since. */
export function standingOf(
  rules: AdmissionRules,
  { login, memberships }: Pick<GitHubAccount, 'login' | 'memberships'>,
): Standing {
  if (admitsEveryone(rules) || isNamed(rules, login)) return 'admitted';
  if (rules.logins.size > 0 && login === null) return 'unknown';
  if (!needsMemberships(rules)) return 'missing';
  if (!memberships) return 'unknown';
  const asked = askedFor(rules);
  if (asked.some((name) => memberships.of.includes(name))) return 'admitted';
  return asked.every((name) => memberships.asked.includes(name)) ? 'missing' : 'unknown';
}

export function isNamed({ logins }: AdmissionRules, login: string | null): boolean {
  return login !== null && logins.has(login.toLowerCase());
}

/**
 * What a person is told who is on none of the lists. Logins of others are not named.
 *
 * @param scopes of their token; null when it does not list them
 */
export function membershipRefusal(rules: AdmissionRules, scopes: readonly string[] | null): Restriction {
  const { organizations, teams } = rules;
  const fields = needsMemberships(rules) ? { missingOrganizations: organizations, missingTeams: teams } : {};
  return { code: 'membership-missing', detail: detailOf(rules, scopes), fields };
}

function detailOf(rules: AdmissionRules, scopes: readonly string[] | null): string | undefined {
  if (!needsMemberships(rules)) return undefined;
  const places = [
    ...rules.organizations.map((name) => `the organization ${name}`),
    ...rules.teams.map((name) => `the team ${name}`),
  ];
  const others = rules.logins.size > 0 ? ', or people on a list,' : '';
  const who = `Only members of ${places.join(' or ')}${others} may sign in, and GitHub does not list you among them.`;
  const isBlind = scopes !== null && missingScopes([MEMBERSHIP_SCOPE], scopes).length > 0;
  return isBlind
    ? `${who} Your token may not tell GitHub’s whole answer: it needs the scope ${MEMBERSHIP_SCOPE}.`
    : `${who} Accept an invitation that is open, or let the organization approve this application, then sign in again.`;
}
