import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { GitHubPerson, Grant } from '../../src/auth/github.ts';
import { type PeopleOptions, signInRecorder } from '../../src/auth/people.ts';
import { createTokenCipher, type TokenCipher } from '../../src/auth/token-cipher.ts';
import { readAdmissionRules } from '../../src/policy/admission.ts';
import { openSeededStore, type SeededStore } from '../support/seeded-store.ts';

const secrets = [{ version: 0, value: 'a-secret-for-tests-0123456789abcdefghij' }];

describe.each(['postgres', 'sqlite'] as const)('recording a sign-in, on %s', (stores) => {
  let store: SeededStore;
  let cipher: TokenCipher;
  const changed: string[] = [];
  let count = 0;
  beforeAll(async () => {
    store = await openSeededStore(stores);
    cipher = createTokenCipher({ tokenKeys: [], secrets, format: 'aes-256-gcm' });
  });
  beforeEach(() => {
    changed.length = 0;
  });
  afterAll(() => store?.close());

  const recorder = (options: Partial<PeopleOptions> = {}) =>
    signInRecorder({
      database: store.database,
      cipher,
      admins: [],
      rules: readAdmissionRules({ logins: [], organizations: [], teams: [] }),
      readMemberships: async () => [],
      onUserChanged: async (userId) => void changed.push(userId),
      ...options,
    });
  const newPerson = (given: Partial<GitHubPerson> = {}): GitHubPerson => {
    count += 1;
    return {
      id: String(5000 + count),
      login: `login-${count}`,
      name: `Name ${count}`,
      avatarUrl: null,
      email: `login-${count}@example.com`,
      tokenKind: 'oauth',
      scopes: ['repo'],
      tokenExpiresAt: null,
      app: null,
      ...given,
    };
  };
  const grant = (given: Partial<Grant> = {}): Grant => ({
    accessToken: 'gho_one',
    refreshToken: null,
    expiresAt: null,
    refreshExpiresAt: null,
    scopes: ['repo'],
    ...given,
  });
  const only = async (table: string, userId: string) => {
    const column = table === '"user"' ? 'id' : '"userId"';
    const rows = await store.rows.query<Record<string, unknown>>(
      `select * from ${table} where ${column} = $1`,
      userId,
    );
    expect(rows).toHaveLength(1);
    return rows[0] as Record<string, unknown>;
  };
  const people = async () =>
    Number((await store.rows.query<{ n: unknown }>(`select count(*) as n from "user"`))[0]?.n);

  test('makes a person, an account whose token only we can read, and a profile', async () => {
    const person = newPerson();
    const userId = await recorder()(person, grant());
    expect(await only('"user"', userId)).toMatchObject({
      name: person.name,
      email: person.email,
      role: 'user',
    });
    const account = await only('account', userId);
    expect(account).toMatchObject({
      providerId: 'github',
      accountId: person.id,
      scope: 'repo',
      accessToken: expect.stringMatching(/^v1\./),
      refreshToken: null,
    });
    expect(await cipher.decrypt(String(account.accessToken))).toBe('gho_one');
    expect(await only('gateway_github_profile', userId)).toMatchObject({
      githubId: person.id,
      login: person.login,
      tokenKind: 'oauth',
      scopesKnown: 1,
    });
    expect(changed).toEqual([userId]);
  });

  test('of a known GitHub id keeps the person and replaces every part of the account', async () => {
    const person = newPerson({ tokenKind: 'app', scopes: null });
    const record = recorder();
    const expiring = {
      refreshToken: 'ghr_x',
      expiresAt: Date.now() + 1e6,
      refreshExpiresAt: Date.now() + 1e7,
    };
    const userId = await record(person, grant({ accessToken: 'ghu_x', ...expiring, scopes: [] }));
    expect(await only('gateway_github_profile', userId)).toMatchObject({ scopesKnown: 0 });
    const before = await only('account', userId);
    expect(await cipher.decrypt(String(before.refreshToken))).toBe('ghr_x');
    const renamed = {
      ...person,
      login: 'renamed',
      email: 'other@example.com',
      tokenKind: 'classic' as const,
    };
    const again = await record(
      { ...renamed, scopes: ['gist', 'user'] },
      grant({ accessToken: 'ghp_y', scopes: null }),
    );
    expect(again).toBe(userId);
    expect(await only('account', userId)).toMatchObject({
      id: before.id,
      refreshToken: null,
      accessTokenExpiresAt: null,
      refreshTokenExpiresAt: null,
      scope: 'gist,user',
    });
    expect(await only('gateway_github_profile', userId)).toMatchObject({
      login: 'renamed',
      tokenKind: 'classic',
      scopesKnown: 1,
    });
    expect(await only('"user"', userId), 'the e-mail here is not taken over').toMatchObject({
      email: person.email,
    });
  });

  test('refuses the e-mail of somebody else, in any case of letters, and makes nobody', async () => {
    const holder = newPerson({ email: 'Holder@example.com'.toLowerCase() });
    await recorder()(holder, grant());
    await store.rows.query(`update "user" set email = 'HOLDER@Example.com' where email = $1`, holder.email);
    const before = await people();
    await expect(recorder()(newPerson({ email: holder.email }), grant())).rejects.toMatchObject({
      code: 'email-in-use',
    });
    expect(await people()).toBe(before);
    expect(changed).toHaveLength(1);
  });

  test('refuses who is banned, and leaves their account as it was', async () => {
    const person = newPerson();
    const userId = await recorder()(person, grant());
    const before = await only('account', userId);
    const isTrue = stores === 'sqlite' ? '1' : 'true';
    await store.rows.query(
      `update "user" set banned = ${isTrue}, "banReason" = 'spam' where id = $1`,
      userId,
    );
    await expect(recorder()(person, grant({ accessToken: 'gho_two' }))).rejects.toMatchObject({
      code: 'user-banned',
      fields: { banReason: 'spam' },
    });
    expect(await only('account', userId)).toEqual(before);
  });

  test('lets in who is on the list, without regard to case, and nobody else', async () => {
    const listed = newPerson();
    const rules = readAdmissionRules({
      logins: [listed.login.toUpperCase()],
      organizations: [],
      teams: [],
    });
    const record = recorder({ rules });
    await record(listed, grant());
    const before = await people();
    await expect(record(newPerson(), grant())).rejects.toMatchObject({ code: 'membership-missing' });
    expect(await people()).toBe(before);
  });

  test('gives the role admin to those the configuration names, also to people who were there before', async () => {
    const person = newPerson();
    const userId = await recorder()(person, grant());
    await recorder({ admins: [person.login.toUpperCase()] })(person, grant());
    expect(String((await only('"user"', userId)).role).split(',')).toContain('admin');
    await recorder()(person, grant());
    expect(String((await only('"user"', userId)).role), 'a role is not taken away by signing in').toContain(
      'admin',
    );
  });

  test('of one new person twenty times at once makes one of each', async () => {
    const person = newPerson();
    const ids = await Promise.all(Array.from({ length: 20 }, () => recorder()(person, grant())));
    expect(new Set(ids).size).toBe(1);
    for (const table of ['"user"', 'account', 'gateway_github_profile']) await only(table, ids[0] ?? '');
  });

  test('that fails in the middle leaves nothing behind', async () => {
    const before = await people();
    const person = newPerson({ login: null as unknown as string });
    await expect(
      recorder()({ ...person, login: 'x', id: null as unknown as string }, grant()),
    ).rejects.toThrow();
    expect(await people()).toBe(before);
    expect(changed).toEqual([]);
  });
});
