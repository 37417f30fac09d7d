// One person never gets the answer of another, nor a route the answer of another route, however often memory is asked.
import { expect, test } from 'vitest';
import { decide } from '../../src/policy/decide.ts';
import { identityHeaders } from '../../src/policy/identity.ts';
import { routeSchema } from '../../src/policy/route-options.ts';
import { createRouteTable } from '../../src/policy/route-table.ts';
import type { Lookup, Session } from '../../src/policy/session.ts';
import { cookieFinder, sign, tokenVerifier } from '../../src/sessions/cookie.ts';
import { createLocalTier } from '../../src/sessions/local.ts';
import { createLookup } from '../../src/sessions/lookup.ts';
import { createRevocationLog } from '../../src/sessions/revocation-log.ts';
import { accountOf, sessionOf, targetOf } from '../policy/samples.ts';
import { report } from '../support/figures.ts';
import { scale, UNHURRIED } from '../support/scale.ts';

const LOOKUPS = scale({ quick: 100_000, full: 1_000_000 });
const PEOPLE = 6000;
/** Fewer than there are people: answers are pushed out all the time. */
const MOST_ENTRIES = 4000;
const NAME = 'better-auth.session_token';
const SECRET = 'the-secret-of-this-test-0123456789-abcdefghij';

/** What counts of a person now; every change is another version of them. */
interface Person {
  readonly cookie: string;
  readonly userId: string;
  isAdmin: boolean;
  hasWorkflow: boolean;
  version: number;
}

const people = Array.from({ length: PEOPLE }, (_each, at): Person => {
  const token = `session-of-person-${String(at).padStart(14, '0')}`;
  const cookie = `theme=dark; ${NAME}=${sign(token, SECRET)}; last=1`;
  return { cookie, userId: `user-${at}`, isAdmin: at % 3 === 0, hasWorkflow: at % 2 === 0, version: 0 };
});

const routes = [
  { path: '/public/**', access: 'public' },
  { path: '/optional/**', access: 'optional' },
  { path: '/api/**', access: 'session' },
  { path: '/api/admin/**', access: { roles: ['admin'] } },
  { path: '/api/workflows/**', access: { scopes: ['workflow'] } },
  { path: '/api/both/**', access: { roles: ['admin'], scopes: ['workflow'] } },
].map((route) => routeSchema.parse({ ...route, upstream: 'hub' }));

/** By path: who may pass, said a second time and in other words. */
const PATHS: Record<string, (person: Person) => boolean> = {
  '/public/x': () => true,
  '/optional/x': () => true,
  '/api/x': () => true,
  '/api/admin/x': ({ isAdmin }) => isAdmin,
  '/api/workflows/x': ({ hasWorkflow }) => hasWorkflow,
  '/api/both/x': ({ isAdmin, hasWorkflow }) => isAdmin && hasWorkflow,
};

test('look-ups of people on routes, changes among them, cross nothing', UNHURRIED, async (context) => {
  const { lookUp, log } = ladder();
  const matchRoute = createRouteTable(routes);
  const targets = Object.entries(PATHS).map(([path, mayPass]) => ({ target: targetOf(path), mayPass }));
  const random = generator(20_301);
  let fromMemory = 0;
  let crossings = 0;
  for (let at = 0; at < LOOKUPS; at++) {
    // Some come often and most seldom.
    const person = people[Math.floor(random() ** 2 * PEOPLE)] as Person;
    const { target, mayPass } = targets[Math.floor(random() * targets.length)] as (typeof targets)[number];
    const match = matchRoute('GET', target, 'gateway.example.com');
    if (match.found !== 'route') throw new Error(target.path);
    const { access } = match.route;
    const asked = lookUp(person.cookie);
    const lookup = asked instanceof Promise ? await asked : asked;
    if (!(asked instanceof Promise)) fromMemory++;
    const decision = decide({ access, lookup, crossSite: false, safeMethod: true, now: Date.now() });
    if (decision.allow !== mayPass(person) || !isTheirs(lookup, person)) crossings++;
    if (at % 50 === 0) change(people[Math.floor(random() * PEOPLE)] as Person, log.note);
  }
  report(context, { lookups: LOOKUPS, people: PEOPLE, routes: routes.length, fromMemory, crossings });
  expect(crossings).toBe(0);
  expect(fromMemory).toBeGreaterThan(LOOKUPS / 2);
});

function change(person: Person, note: (key: string) => void): void {
  person.isAdmin = !person.isAdmin;
  if (person.isAdmin) person.hasWorkflow = !person.hasWorkflow;
  person.version++;
  note(person.userId);
}

/** By what an upstream would be told. */
function isTheirs(lookup: Lookup, person: Person): boolean {
  if (lookup.outcome !== 'found') return false;
  const told = identityHeaders(lookup.session, 'oauth2-proxy', 'hash');
  const value = (name: string) => told[told.indexOf(name) + 1];
  return (
    value('X-Forwarded-User') === person.userId &&
    value('X-Forwarded-Preferred-Username') === `${person.userId}-${person.version}` &&
    value('X-Forwarded-Groups') === (person.isAdmin ? 'admin' : 'user')
  );
}

function ladder() {
  const byToken = new Map(people.map((person) => [tokenOf(person.cookie), person]));
  const log = createRevocationLog();
  const lookUp = createLookup({
    findCookie: cookieFinder(NAME),
    verifyToken: tokenVerifier([SECRET]),
    local: createLocalTier({ log, freshMs: () => 60_000, staleIfErrorMs: 60_000, mostEntries: MOST_ENTRIES }),
    shared: null,
    readStore: async (token) => {
      const person = byToken.get(token);
      return person ? { found: 'session', session: sessionFor(person) } : { found: 'nothing' };
    },
    readFallback: () => null,
    log,
    health: { failed: () => {}, answered: () => {}, isAway: () => false },
    hearsChanges: () => true,
  });
  return { lookUp, log };
}

function sessionFor({ userId, version, isAdmin, hasWorkflow }: Person): Session {
  const scopes = hasWorkflow ? ['workflow'] : ['repo'];
  const expiresAt = Date.now() + 3_600_000;
  const github = accountOf({ login: `${userId}-${version}`, scopes });
  return sessionOf({ id: userId, userId, expiresAt, role: isAdmin ? 'admin' : 'user', github });
}

function tokenOf(cookie: string): string {
  return /session-of-person-\d+/.exec(cookie)?.[0] ?? '';
}

/** The same numbers in every run (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
