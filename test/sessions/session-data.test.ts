// The JWE cookie as Better Auth makes it, of this version or the application's, under any secret that counts.
import { symmetricEncodeJWT } from 'better-auth/crypto';
import { symmetricEncodeJWT as encodeOfApplication } from 'better-auth-application/crypto';
import { describe, expect, test } from 'vitest';
import { sessionDataReader, sessionDataValue } from '../../src/sessions/session-data.ts';

const NEW = 'first-secret-0123456789abcdefghij';
const OLD = 'older-secret-0123456789abcdefghij';
const TOKEN = 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF';
const read = sessionDataReader([NEW, OLD]);

const told = (expiresAt = Date.now() + 3_600_000) => ({
  session: { id: 's1', token: TOKEN, userId: 'u1', expiresAt: new Date(expiresAt).toISOString() },
  user: { id: 'u1', email: 'a@example.com', name: 'A' },
  updatedAt: Date.now(),
  version: '1',
});

describe.each([
  ['this version', symmetricEncodeJWT],
  ['the application', encodeOfApplication],
])('a JWE cookie of %s', (_who, encode) => {
  test('is opened by the secret it was made under, current or older, alone or in a list', async () => {
    const several = { keys: new Map([[2, NEW] as const, [1, OLD] as const]), currentVersion: 2 };
    for (const secret of [NEW, OLD, several]) {
      const value = await encode(told(), secret, 'better-auth-session', 3600);
      const data = read(value);
      expect(data?.token).toBe(TOKEN);
      expect(data?.session).toMatchObject({ id: 's1', userId: 'u1', role: 'user', github: undefined });
    }
  });

  test('opens for no other secret, use or time', async () => {
    const value = await encode(told(), NEW, 'better-auth-session', 3600);
    expect(sessionDataReader([OLD])(value)).toBeNull();
    const forAccounts = await encode(told(), NEW, 'better-auth-account', 3600);
    expect(read(forAccounts)).toBeNull();
    const ended = await encode(told(Date.now() - 1000), NEW, 'better-auth-session', 3600);
    expect(read(ended)).toBeNull();
    for (const junk of ['', 'eyJ', value.slice(0, -5), `${value}.x`]) expect(read(junk)).toBeNull();
  });
});

test('it is put together from its chunks, in their order', () => {
  const name = 'better-auth.session_data';
  expect(sessionDataValue(`${name}.1=b; x=1; ${name}.0=a`, name)).toBe('ab');
  expect(sessionDataValue(`${name}=whole`, name)).toBe('whole');
  expect(sessionDataValue('x=1', name)).toBeNull();
});
