import { describe, expect, test } from 'vitest';
import { type DenyCode, decide, liveSession, type Question } from '../../src/policy/decide.ts';
import { type Ban, isBanned, type Lookup, type Session } from '../../src/policy/session.ts';
import { accessOf, accountOf, MINUTE, NOW, sessionOf } from './samples.ts';

const forGood: Ban = { reason: 'spam', expiresAt: null };
const stillBanned: Ban = { reason: 'spam', expiresAt: NOW + 1 };
const ended: Ban = { reason: 'spam', expiresAt: NOW };

function found(more: Partial<Session> = {}): Lookup {
  return { outcome: 'found', session: sessionOf(more), tier: 'store' };
}

function ask(question: Partial<Question>): string {
  const decision = decide({
    access: accessOf('session'),
    lookup: found(),
    crossSite: false,
    safeMethod: true,
    now: NOW,
    ...question,
  });
  if (!decision.allow) return decision.code;
  return decision.session === null ? 'anonymous' : decision.session.id;
}

const LOOKUPS: Record<string, Lookup> = {
  'a live session': found(),
  'a live session whose ban has ended': found({ ban: ended }),
  'no cookie': { outcome: 'none', reason: 'no-session-cookie' },
  'a forged cookie': { outcome: 'none', reason: 'session-invalid' },
  'an ended session': { outcome: 'none', reason: 'session-expired' },
  'a session the store still has, expired': found({ expiresAt: NOW }),
  'a banned person': found({ ban: forGood }),
  'a banned person whose ban ends': found({ ban: stillBanned }),
  'a session deleted by a ban': { outcome: 'none', reason: 'user-banned', ban: stillBanned },
  'a session deleted by a ban that has ended': { outcome: 'none', reason: 'user-banned', ban: ended },
  'an expired session of a banned person': found({ expiresAt: NOW - MINUTE, ban: forGood }),
  'a store that cannot be asked': { outcome: 'failed', cause: new Error('away') },
};

type Answer = DenyCode | 'anonymous' | 'session-1';

/** For each lookup: on an optional route, and where a session is needed. */
const TABLE: [lookup: string, optional: Answer, session: Answer][] = [
  ['a live session', 'session-1', 'session-1'],
  ['a live session whose ban has ended', 'session-1', 'session-1'],
  ['no cookie', 'anonymous', 'no-session-cookie'],
  ['a forged cookie', 'anonymous', 'session-invalid'],
  ['an ended session', 'anonymous', 'session-expired'],
  ['a session the store still has, expired', 'anonymous', 'session-expired'],
  ['a banned person', 'anonymous', 'user-banned'],
  ['a banned person whose ban ends', 'anonymous', 'user-banned'],
  ['a session deleted by a ban', 'anonymous', 'user-banned'],
  ['a session deleted by a ban that has ended', 'anonymous', 'session-expired'],
  ['an expired session of a banned person', 'anonymous', 'user-banned'],
  ['a store that cannot be asked', 'session-store-unavailable', 'session-store-unavailable'],
];

test('the table has every lookup', () => {
  expect(TABLE.map(([name]) => name)).toEqual(Object.keys(LOOKUPS));
});

describe.each(TABLE)('%s', (name, optional, session) => {
  const lookup = LOOKUPS[name] ?? null;

  test(`is ${optional} on an optional route`, () => {
    expect(ask({ access: accessOf('optional'), lookup })).toBe(optional);
    expect(ask({ access: accessOf('optional'), lookup, safeMethod: false })).toBe(optional);
  });

  test(`is ${session} where a session is needed`, () => {
    expect(ask({ lookup })).toBe(session);
    expect(ask({ lookup, safeMethod: false })).toBe(session);
  });

  test('is answered before another site’s request, and that before what the route asks for', () => {
    const strict = accessOf('session', { roles: ['admin'], scopes: ['repo'] });
    const who = session === 'session-1' ? 'cross-site-request' : session;
    expect(ask({ lookup, crossSite: true, safeMethod: false })).toBe(who);
    expect(ask({ lookup, crossSite: true, safeMethod: false, access: strict })).toBe(who);
    expect(ask({ lookup, access: strict })).toBe(session === 'session-1' ? 'role-missing' : session);
  });

  test('lets no other site act on an optional route', () => {
    const answer = ask({ access: accessOf('optional'), lookup, crossSite: true, safeMethod: false });
    expect(answer).toBe(optional === 'session-store-unavailable' ? optional : 'cross-site-request');
  });
});

test('nobody is asked on a public route', () => {
  expect(ask({ access: accessOf('public'), lookup: null })).toBe('anonymous');
  expect(ask({ access: accessOf('public'), lookup: null, safeMethod: false })).toBe('anonymous');
});

test('a public route announces nobody, even if somebody was found', () => {
  expect(ask({ access: accessOf('public') })).toBe('anonymous');
});

test('denies where a session is needed and nothing was asked', () => {
  expect(ask({ lookup: null })).toBe('session-expired');
});

describe('a session', () => {
  test.each([
    [NOW + 1, 'session-1'],
    [NOW, 'session-expired'],
    [NOW - 1, 'session-expired'],
    [Number.NaN, 'session-expired'],
  ])('that ends at %i is answered with %s', (expiresAt, answer) => {
    expect(ask({ lookup: found({ expiresAt }) })).toBe(answer);
  });
});

describe('a ban', () => {
  test.each([
    [null, false],
    [forGood, true],
    [stillBanned, true],
    [ended, false],
    [{ reason: null, expiresAt: NOW - 1 }, false],
  ])('%j holds: %s', (ban, holds) => {
    expect(isBanned(ban, NOW)).toBe(holds);
  });

  test.each([
    [forGood, { banReason: 'spam', banExpires: null }],
    [stillBanned, { banReason: 'spam', banExpires: '2030-01-15T12:00:00.001Z' }],
    [
      { reason: null, expiresAt: null },
      { banReason: null, banExpires: null },
    ],
  ])('%j is told with its reason and its end', (ban, fields) => {
    const question = { access: accessOf('session'), crossSite: false, safeMethod: true, now: NOW };
    for (const lookup of [found({ ban }), { outcome: 'none', reason: 'user-banned', ban } as const])
      expect(decide({ ...question, lookup })).toEqual({ allow: false, code: 'user-banned', fields });
  });
});

describe('roles', () => {
  const access = accessOf('session', { roles: ['admin', 'editor'] });

  test.each(['admin', 'editor', 'user,admin', 'user, editor', 'editor,user'])(
    '%j has one of them',
    (role) => {
      expect(ask({ access, lookup: found({ role }) })).toBe('session-1');
    },
  );

  test.each(['user', '', 'administrator', 'Admin', 'admin2,xeditor', 'ad,min', ','])(
    '%j has none',
    (role) => {
      expect(ask({ access, lookup: found({ role }) })).toBe('role-missing');
    },
  );

  test('are told when they are missing', () => {
    expect(decide({ access, lookup: found(), crossSite: false, safeMethod: true, now: NOW })).toMatchObject({
      code: 'role-missing',
      fields: { requiredRoles: ['admin', 'editor'] },
    });
  });

  test('are asked for beside scopes, not instead of them', () => {
    const both = accessOf('session', { roles: ['admin'], scopes: ['repo'] });
    const github = accountOf({ scopes: ['repo'] });
    expect(ask({ access: both, lookup: found({ role: 'admin', github }) })).toBe('session-1');
    expect(ask({ access: both, lookup: found({ role: 'admin' }) })).toBe('scope-missing');
    expect(ask({ access: both, lookup: found({ github }) })).toBe('role-missing');
  });
});

describe('scopes', () => {
  const access = accessOf('session', { scopes: ['public_repo', 'read:org'] });
  const withScopes = (scopes: string[] | null) => found({ github: accountOf({ scopes }) });

  test.each([[['public_repo', 'read:org']], [['repo', 'admin:org']], [['write:org', 'gist', 'public_repo']]])(
    '%j are enough',
    (scopes) => {
      expect(ask({ access, lookup: withScopes(scopes) })).toBe('session-1');
    },
  );

  test.each([
    [['repo'], ['read:org']],
    [['read:org'], ['public_repo']],
    [[], ['public_repo', 'read:org']],
    [
      ['__proto__', 'constructor'],
      ['public_repo', 'read:org'],
    ],
  ])('with %j, %j are told to be missing', (grantedScopes, missing) => {
    expect(
      decide({ access, lookup: withScopes(grantedScopes), crossSite: false, safeMethod: true, now: NOW }),
    ).toEqual({
      allow: false,
      code: 'scope-missing',
      fields: { requiredScopes: ['public_repo', 'read:org'], grantedScopes, missingScopes: missing },
    });
  });

  test('are missing without a GitHub account', () => {
    expect(ask({ access, lookup: found({ github: null }) })).toBe('scope-missing');
  });

  test('that are not known are refused, unless the route allows it', () => {
    expect(ask({ access, lookup: withScopes(null) })).toBe('scopes-unknown');
    expect(ask({ access: { ...access, unknownScopes: 'allow' }, lookup: withScopes(null) })).toBe(
      'session-1',
    );
  });

  test('that are known to be missing are refused where unknown ones are allowed', () => {
    expect(ask({ access: { ...access, unknownScopes: 'allow' }, lookup: withScopes([]) })).toBe(
      'scope-missing',
    );
  });

  test('are nobody’s concern on a route that asks for none', () => {
    expect(ask({ lookup: withScopes(null) })).toBe('session-1');
    expect(ask({ lookup: found({ github: null }) })).toBe('session-1');
  });
});

describe('an administrator who acts as somebody', () => {
  const lookup = found({ impersonatedBy: 'admin-1' });

  test.each(['session', 'optional'] as const)('may look but not touch (%s)', (kind) => {
    expect(ask({ access: accessOf(kind), lookup })).toBe('session-1');
    expect(ask({ access: accessOf(kind), lookup, safeMethod: false })).toBe('impersonation-read-only');
  });

  test('may do everything where the route says so', () => {
    const access = accessOf('session', { impersonatorWrites: true });
    expect(ask({ access, lookup, safeMethod: false })).toBe('session-1');
  });

  test('is refused as another site first', () => {
    expect(ask({ lookup, crossSite: true, safeMethod: false })).toBe('cross-site-request');
  });
});

describe('where refusals are only reported', () => {
  const announced = Object.keys(LOOKUPS).filter((name) => liveSession(LOOKUPS[name] ?? null, NOW) !== null);

  test('only who has a live session and is not banned is announced', () => {
    expect(announced).toEqual(['a live session', 'a live session whose ban has ended']);
    expect(liveSession(null, NOW)).toBeNull();
  });

  test('whoever decide() lets pass with a session is announced all the same', () => {
    for (const [name, lookup] of Object.entries(LOOKUPS))
      if (ask({ lookup }) === 'session-1') expect(announced).toContain(name);
  });
});
