import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Session } from '../../src/policy/session.ts';
import { type ReadSession, storeReader, together } from '../../src/sessions/store.ts';
import { tokenHash } from '../../src/sessions/token-hash.ts';
import { idOf, openSeededStore, type PersonRow, type SeededStore } from '../support/seeded-store.ts';

describe.each(['postgres', 'sqlite'] as const)('the store on %s', (stores) => {
  let store: SeededStore;
  let read: ReadSession;
  beforeAll(async () => {
    store = await openSeededStore(stores);
    read = together(storeReader(store.database));
  });
  afterAll(() => store?.close());

  const sessionOf = async (person: PersonRow = {}): Promise<Session> => {
    const answer = await read(await store.addSession(await store.addPerson(person)));
    if (answer.found !== 'session') throw new Error(`found ${answer.found}`);
    return answer.session;
  };
  const soon = new Date(Math.ceil(Date.now() / 1000) * 1000 + 60_000);
  const past = new Date(Date.now() - 60_000);

  test('tells session, person, account and profile', async () => {
    const userId = await store.addPerson({
      role: 'admin',
      account: { accessTokenExpiresAt: soon },
      profile: { login: 'octo', scopesKnown: 1 },
    });
    const token = await store.addSession(userId, { expiresAt: soon });
    expect(await read(token)).toEqual({
      found: 'session',
      session: {
        id: idOf(token),
        userId,
        expiresAt: soon.getTime(),
        impersonatedBy: null,
        email: `${userId}@example.com`,
        name: 'Name',
        role: 'admin',
        ban: null,
        github: {
          id: `github-${userId}`,
          login: 'octo',
          encryptedToken: 'v1.encrypted',
          tokenExpiresAt: soon.getTime(),
          scopes: ['repo', 'user:email'],
        },
      },
    });
  });

  test.each([
    ['repo,user:email', ['repo', 'user:email']],
    ['repo user:email', ['repo', 'user:email']],
    ['repo, user:email', ['repo', 'user:email']],
    ['', []],
    [null, []],
  ])('reads the scopes %j', async (scope, scopes) => {
    expect((await sessionOf({ account: { scope } })).github?.scopes).toEqual(scopes);
  });

  test('knows that it does not know the scopes of a fine-grained token', async () => {
    const person = { account: { scope: '' }, profile: { login: 'x', scopesKnown: 0 } } as const;
    expect((await sessionOf(person)).github?.scopes).toBeNull();
  });

  test('finds people without a GitHub account, and such whose login it has not seen', async () => {
    expect((await sessionOf({ account: null })).github).toBeNull();
    expect((await sessionOf()).github).toMatchObject({ login: null });
  });

  test('tells a ban with reason and end', async () => {
    expect((await sessionOf({ banned: true })).ban).toEqual({ reason: null, expiresAt: null });
    expect((await sessionOf({ banned: true, banReason: 'spam', banExpires: soon })).ban).toEqual({
      reason: 'spam',
      expiresAt: soon.getTime(),
    });
    expect((await sessionOf({ banned: false, banReason: 'before' })).ban).toBeNull();
  });

  test('tells who impersonates, for as long as they are an administrator', async () => {
    const admin = await store.addPerson({ role: 'admin' });
    const person = await store.addPerson();
    const token = await store.addSession(person, { impersonatedBy: admin });
    expect(await read(token)).toMatchObject({
      found: 'session',
      session: { userId: person, impersonatedBy: admin },
    });
    await store.rows.query(`update "user" set role = 'user' where id = $1`, admin);
    expect(await read(token)).toEqual({ found: 'nothing' });
  });

  test('finds nothing for an unknown token, whatever is in it', async () => {
    for (const token of ['x'.repeat(32), '', `' or 1=1 --`, '%', 'x'.repeat(10_000)])
      expect(await read(token)).toEqual({ found: 'nothing' });
  });

  test('tells a session that a ban ended, while the ban and the session would have lasted', async () => {
    const end = async (person: PersonRow, until: Date) => {
      const userId = await store.addPerson(person);
      const token = await store.addSession(userId);
      await store.rows.query(`delete from session where token = $1`, token);
      await store.rows.query(
        `insert into gateway_ended_session ("tokenHash", "userId", until) values ($1, $2, $3)
         on conflict ("tokenHash") do update set until = excluded.until`,
        tokenHash(token),
        userId,
        until.toISOString(),
      );
      return read(token);
    };
    expect(await end({ banned: true, banReason: 'spam' }, soon)).toEqual({
      found: 'ended',
      ban: { reason: 'spam', expiresAt: null },
    });
    expect(await end({ banned: true }, past)).toEqual({ found: 'nothing' });
    expect(await end({ banned: false }, soon)).toEqual({ found: 'nothing' });
  });

  test('whoever asks beside others is told of their own session', async () => {
    const people = await Promise.all(Array.from({ length: 150 }, () => store.addPerson()));
    const tokens = await Promise.all(people.map((userId) => store.addSession(userId)));
    const asked = tokens.flatMap((token) => [token, `nobody-${token}`]);
    const answers = await Promise.all(asked.map((token) => read(token)));
    expect(
      answers.map((answer) => (answer.found === 'session' ? answer.session.userId : answer.found)),
    ).toEqual(people.flatMap((userId) => [userId, 'nothing']));
  });

  test.each([['"'], ['\\'], ['__proto__'], ['7'], ['é\u2028🐙'], ['{}'], ['']])(
    'a token is a token, whatever is in it: %j',
    async (token) => {
      const userId = await store.addPerson();
      const plain = await store.addSession(userId);
      await store.rows.query('update session set token = $1 where token = $2', token, plain);
      const answers = await Promise.all([read(token), read(plain), read('8')]);
      await store.rows.query('delete from session where token = $1', token);
      expect(answers).toMatchObject([
        { found: 'session', session: { userId } },
        { found: 'nothing' },
        { found: 'nothing' },
      ]);
    },
  );

  test('takes the account that was written last', async () => {
    const userId = await store.addPerson();
    const token = await store.addSession(userId);
    await store.rows.query(
      `insert into account (id, "accountId", "providerId", "userId", scope, "createdAt", "updatedAt")
       values ($1, 'other', 'github', $2, 'gist', $3, $3)`,
      `second-${userId}`,
      userId,
      new Date(Date.now() + 60_000).toISOString(),
    );
    expect(await read(token)).toMatchObject({ session: { github: { id: 'other', scopes: ['gist'] } } });
  });
});

test('a closed store is an error, not an empty answer', async () => {
  const store = await openSeededStore('postgres');
  const token = await store.addSession(await store.addPerson());
  await store.close();
  await expect(together(storeReader(store.database))(token)).rejects.toThrow();
});
