// What a service that reads sessions itself is shown of our cookies.
import { symmetricEncodeJWT } from 'better-auth/crypto';
import { describe, expect, test } from 'vitest';
import type { Session } from '../../src/policy/session.ts';
import { cookieFinder, sign, tokenVerifier } from '../../src/sessions/cookie.ts';
import { passedCookies } from '../../src/sessions/passed-cookies.ts';

const NEW = 'first-secret-0123456789abcdefghij';
const OLD = 'older-secret-0123456789abcdefghij';
const TOKEN = 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF';
const OTHERS = 'zzzzE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF';
const secrets = [NEW, OLD];

const makePass = (cookiePrefix: string) =>
  passedCookies({
    cookiePrefix,
    findCookie: cookieFinder(`${cookiePrefix}session_token`),
    verifyToken: tokenVerifier(secrets),
    secrets,
  });
const pass = makePass('better-auth.');

const session: Session = {
  ...{ id: 's1', userId: 'u1', expiresAt: Date.now() + 3_600_000, impersonatedBy: null },
  ...{ email: 'a@example.com', name: 'A', role: 'user', ban: null, github: null },
};

function jwe(secret = NEW, told: Partial<Session & { token: string }> = {}): Promise<string> {
  const all = { ...session, token: TOKEN, ...told };
  const expiresAt = new Date(all.expiresAt).toISOString();
  return symmetricEncodeJWT(
    {
      session: { ...all, expiresAt },
      user: { id: all.userId, email: all.email, name: all.name, role: all.role },
      updatedAt: Date.now(),
      version: '1',
    },
    secret,
    'better-auth-session',
    3600,
  );
}

const own = (secret = NEW) => `better-auth.session_token=${sign(TOKEN, secret)}`;
const data = (value: string, name = 'session_data') => `better-auth.${name}=${value}`;

test('a true JWE cookie goes up beside its session, in one piece or in several, byte for byte', async () => {
  const value = await jwe();
  const chunks = `${data(value.slice(0, 100), 'session_data.0')}; ${data(value.slice(100), 'session_data.1')}`;
  for (const header of [`a=1; ${own()}; ${data(value)}; b="x y"`, `${chunks}; ${own()}; a=%zz`])
    expect(await pass(header, session)).toBe(header);
});

describe('a JWE cookie stays behind', () => {
  const told = async (header: string, who: Session | null | undefined = session) =>
    (await pass(header, who)) ?? '';

  test.each<[string, Partial<Session & { token: string }>]>([
    ['of another session', { token: OTHERS }],
    ['of another person', { userId: 'u2' }],
    ['with the role of yesterday', { role: 'admin' }],
    ['with the name of yesterday', { name: 'B' }],
    ['with the e-mail of yesterday', { email: 'b@example.com' }],
    ['of somebody acting as this person', { impersonatedBy: 'u9' }],
    ['that has run out', { expiresAt: Date.now() - 1000 }],
  ])('%s', async (_what, other) => {
    expect(await told(`${own()}; ${data(await jwe(NEW, other))}`)).toBe(own());
  });

  test('of an older secret, which the service might not know', async () => {
    expect(await told(`${own()}; ${data(await jwe(OLD))}`)).toBe(own());
  });

  test('of no secret of ours, or none at all', async () => {
    for (const value of [await jwe('other-secret-0123456789abcdefghij'), 'eyJ', ''])
      expect(await told(`${own()}; ${data(value)}`)).toBe(own());
  });

  test('where there are several, whichever the service would take', async () => {
    const [mine, others] = [await jwe(), await jwe(NEW, { token: OTHERS, userId: 'u2' })];
    const [one, two] = [data(mine.slice(0, 100), 'session_data.0'), data(mine.slice(100), 'session_data.1')];
    for (const header of [
      `${data(mine)}; ${own()}; ${data(others)}`,
      `${data(others)}; ${own()}; ${data(mine)}`,
      `${data(mine)}; ${own()}; ${data(others, 'session_data.0')}`,
      `${data(others, 'session_data.0')}; ${own()}; ${data(mine)}`,
      `${one}; ${two}; ${own()}; ${data(others, 'session_data.0')}`,
      `${one}; ${two}; ${own()}; ${data(others, 'session_data.00')}`,
      `${one}; ${two}; ${own()}; ${data(others, 'session_data.2')}`,
      `${one}; ${own()}; ${data(mine.slice(100), 'session_data.2')}`,
    ])
      expect(await told(header), header.replaceAll(/eyJ[^;]*/g, '…')).toBe(own());
  });

  test('where nobody has asked who it is', async () => {
    const header = `${own()}; ${data(await jwe())}`;
    expect(await pass(header, undefined)).toBe(own());
  });
});

test('nobody has no session cookie, and keeps all others', async () => {
  const header = `a=1; ${own()}; ${data(await jwe())}; better-auth.dont_remember=x; better-auth.theme=dark`;
  expect(await pass(header, null)).toBe('a=1; better-auth.theme=dark');
  expect(await pass(own(), null)).toBeUndefined();
});

test('an older signature is renewed on each cookie that has one', async () => {
  const names = ['session_token', 'dont_remember', 'admin_session'];
  const signed = (secret: string) =>
    names.map((name) => `better-auth.${name}=${sign(name === 'session_token' ? TOKEN : name, secret)}`);
  for (const who of [session, undefined])
    expect(await pass(signed(OLD).join('; '), who)).toBe(signed(NEW).join('; '));
});

test('two session cookies of different value count for nobody', async () => {
  const other = `better-auth.session_token=${sign(OTHERS, NEW)}`;
  for (const who of [session, undefined]) expect(await pass(`${own()}; a=1; ${other}`, who)).toBe('a=1');
});

test('cookies under another prefix, or in other letters, and all that is never shown, stay behind', async () => {
  const others = [
    '__Secure-better-auth.session_token',
    'Better-Auth.session_token',
    'better-auth.account_data',
  ];
  const never = ['better-auth.state', 'better-auth.oauth_state', '__Host-better-auth.session_data'];
  const header = [...others, ...never].map((name) => `${name}=x`).join('; ');
  expect(await pass(`${header}; ${own()}`, session)).toBe(own());
  const secure = `__Secure-${own()}`;
  expect(await makePass('__Secure-better-auth.')(`${own()}; ${secure}`, session)).toBe(secure);
});
