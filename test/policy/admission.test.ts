import { describe, expect, test } from 'vitest';
import { membershipRefusal, readAdmissionRules, standingOf } from '../../src/policy/admission.ts';

const rulesOf = (lists: { logins?: string[]; organizations?: string[]; teams?: string[] }) =>
  readAdmissionRules({ logins: [], organizations: [], teams: [], ...lists });
const known = (of: string[], asked = of) => ({ of, asked, at: 0 });

describe('who may be here', () => {
  test.each([
    ['everyone where nothing is listed', {}, null, null, 'admitted'],
    ['whose login is listed, in any case', { logins: ['Octocat'] }, 'octoCAT', null, 'admitted'],
    ['nobody else', { logins: ['octocat'] }, 'hubot', null, 'missing'],
    ['not known, of somebody whose login is not', { logins: ['octocat'] }, null, null, 'unknown'],
    ['a member of the organization', { organizations: ['Acme'] }, 'x', known(['acme']), 'admitted'],
    ['not who is no member', { organizations: ['acme'] }, 'x', known([], ['acme']), 'missing'],
    ['not known before GitHub was asked', { organizations: ['acme'] }, 'x', null, 'unknown'],
    ['a member of one of two', { organizations: ['a', 'b'] }, 'x', known(['b'], ['a', 'b']), 'admitted'],
    [
      'a member of one of two, the other not asked',
      { organizations: ['a', 'b'] },
      'x',
      known(['b']),
      'admitted',
    ],
    [
      'not known when the list has grown since',
      { organizations: ['a', 'b'] },
      'x',
      known([], ['a']),
      'unknown',
    ],
    ['a member of the team', { teams: ['Acme/Core'] }, 'x', known(['acme/core']), 'admitted'],
    [
      'not who is in the organization alone',
      { teams: ['acme/core'] },
      'x',
      known(['acme'], ['acme', 'acme/core']),
      'missing',
    ],
    ['a listed login without any membership', { logins: ['x'], organizations: ['a'] }, 'x', null, 'admitted'],
    [
      'a member whose login is not listed',
      { logins: ['y'], teams: ['a/b'] },
      'x',
      known(['a/b']),
      'admitted',
    ],
  ] as const)('%s', (_name, lists, login, memberships, standing) => {
    const rules = rulesOf(lists as Parameters<typeof rulesOf>[0]);
    expect(standingOf(rules, { login, memberships })).toBe(standing);
  });
});

test('a refusal names what is missing, and nobody else’s login', () => {
  const rules = rulesOf({ logins: ['secret-person'], organizations: ['acme'], teams: ['acme/core'] });
  const refusal = membershipRefusal(rules, ['read:org']);
  expect(refusal).toMatchObject({
    code: 'membership-missing',
    fields: { missingOrganizations: ['acme'], missingTeams: ['acme/core'] },
    detail: expect.stringMatching(/organization acme or the team acme\/core/),
  });
  expect(JSON.stringify(refusal)).not.toContain('secret-person');
});

test('a token that may not read memberships is told so', () => {
  const rules = rulesOf({ organizations: ['acme'] });
  expect(membershipRefusal(rules, ['repo']).detail).toContain('read:org');
  for (const scopes of [['admin:org'], null])
    expect(membershipRefusal(rules, scopes).detail).not.toContain('read:org');
});
