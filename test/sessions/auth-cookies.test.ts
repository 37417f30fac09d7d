import { describe, expect, test } from 'vitest';
import { authCookieWriter, staleCookies } from '../../src/sessions/auth-cookies.ts';
import { credentialReader, sign } from '../../src/sessions/cookie.ts';

const SECRET = 'first-secret-0123456789abcdefghij';
const OLDER = 'older-secret-0123456789abcdefghij';
const OTHER = 'other-secret-0123456789abcdefghij';
const TOKEN = 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF';

const write = authCookieWriter([SECRET, OLDER]);

describe('Better Auth is shown', () => {
  test('the cookies of others as they came', () => {
    const header = 'a=1; b="x y"; c=%zz; __proto__=1; name=voil\u00c3\u00a0; better-auth.theme=x';
    expect(write(header)).toBe(header);
  });

  test.each(['session_token', 'dont_remember', 'admin_session', 'state'])(
    'a %s signed with any secret as signed with the first',
    (own) => {
      for (const prefix of ['', '__Secure-'])
        for (const secret of [SECRET, OLDER]) {
          const name = `${prefix}better-auth.${own}`;
          expect(write(`a=1; ${name}=${sign(TOKEN, secret)}; b=2`)).toBe(
            `a=1; ${name}=${sign(TOKEN, SECRET)}; b=2`,
          );
        }
    },
  );

  test.each(['forged', sign(TOKEN, OTHER), '', '%', `${sign(TOKEN, SECRET)}x`])(
    'no session_token that we did not sign: %j',
    (value) => {
      expect(write(`a=1; better-auth.session_token=${value}`)).toBe('a=1');
    },
  );

  test.each(['session_data', 'session_data.0', 'session_data.12', 'account_data', 'account_data.1'])(
    'no %s: it would answer from it after a sign-out',
    (own) => {
      for (const prefix of ['', '__Secure-', '__Host-'])
        expect(write(`${prefix}better-auth.${own}=eyJ; a=1`)).toBe('a=1');
    },
  );

  test('nothing when nothing is left', () => {
    expect(write('better-auth.session_data=eyJ; better-auth.session_token=forged')).toBeUndefined();
    expect(write('')).toBeUndefined();
  });
});

describe('two session cookies of different value', () => {
  const mine = `better-auth.session_token=${sign(TOKEN, SECRET)}`;
  const another = `better-auth.session_token=${sign('zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz', SECRET)}`;

  test('are both kept from it, as they count for nobody in a lookup', () => {
    expect(write(`${mine}; ${another}; a=1`)).toBe('a=1');
    expect(write(`${another}; a=1; ${mine}`)).toBe('a=1');
  });

  test.each([
    ['one forged', `${mine}; better-auth.session_token=forged`],
    ['one empty', `better-auth.session_token=; ${mine}`],
    ['one of another secret', `${mine}; better-auth.session_token=${sign(TOKEN, OTHER)}`],
  ])('are judged as in a lookup: %s', (_what, header) => {
    const read = credentialReader('better-auth.session_token', [SECRET, OLDER]);
    expect(read(header)).toEqual({ kind: 'invalid' });
    expect(write(`${header}; a=1`)).toBe('a=1');
  });

  test('are one when they are equal', () => {
    expect(write(`${mine}; ${mine}`)).toContain(mine);
  });
});

describe('chunks of an old JWE cookie', () => {
  const old = 'better-auth.session_data.0=x; better-auth.session_data.1=y; better-auth.account_data.0=z; a=1';
  const all = ['better-auth.session_data.0', 'better-auth.session_data.1', 'better-auth.account_data.0'];

  test('end when a new one is written', () => {
    expect(staleCookies(old, ['better-auth.session_data=new; Path=/'])).toEqual(all);
  });

  test('end when it ends', () => {
    expect(staleCookies(old, ['better-auth.session_data=; Max-Age=0; Path=/'])).toEqual(all);
  });

  test('that are written anew stay', () => {
    const written = ['better-auth.session_data.0=n; Path=/', 'better-auth.session_data.1=n; Path=/'];
    expect(staleCookies(old, written)).toEqual(['better-auth.account_data.0']);
  });

  test('stay while Better Auth writes nothing about them', () => {
    expect(staleCookies(old, [])).toEqual([]);
    expect(staleCookies(old, ['better-auth.session_token=x', 'a=1'])).toEqual([]);
  });

  test('are each named once, as the browser has them', () => {
    const header = '__Secure-better-auth.session_data.0=x; __Secure-better-auth.session_data.0=y';
    const names = staleCookies(header, ['__Secure-better-auth.session_data=new']);
    expect(names).toEqual(['__Secure-better-auth.session_data.0']);
  });
});
