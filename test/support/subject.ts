// People with a session each, written into the store past the gateway: sign-ins are counted by address.
import { randomBytes } from 'node:crypto';
import { sign } from '../../src/sessions/cookie.ts';
import { createClient } from './browser-like.ts';
import type { TestGateway } from './gateway.ts';
import type { Subject } from './writers.ts';

export interface SubjectRow {
  readonly scope?: string;
  /** Of a person who is there already. */
  readonly userId?: string;
}

export async function addSubject(
  { url, store, config }: Pick<TestGateway, 'url' | 'store' | 'config'>,
  { scope = 'public_repo,read:user,user:email', userId }: SubjectRow = {},
): Promise<Subject> {
  const [id, token] = [userId ?? `user-${newName()}`, newName()];
  const now = new Date().toISOString();
  const isTrue = config.databaseUrl === null ? '1' : 'true';
  if (userId === undefined) {
    await store.query(
      `insert into "user" (id, name, email, "emailVerified", role, "createdAt", "updatedAt")
       values ($1, 'Name', $2, ${isTrue}, 'user', $3, $3)`,
      id,
      `${id}@example.com`,
      now,
    );
    await store.query(
      `insert into account (id, "accountId", "providerId", "userId", scope, "createdAt", "updatedAt")
       values ($1, $2, 'github', $3, $4, $5, $5)`,
      `account-${id}`,
      `github-${id}`,
      id,
      scope,
      now,
    );
  }
  const ends = new Date(Date.now() + 6.9 * 86_400_000).toISOString();
  await store.query(
    `insert into session (id, token, "userId", "expiresAt", "createdAt", "updatedAt") values ($1, $2, $3, $4, $5, $5)`,
    `session-${newName()}`,
    token,
    id,
    ends,
    now,
  );
  const cookie = sign(token, config.secrets[0]?.value ?? '');
  const client = createClient(url, new Map([['better-auth.session_token', cookie]]));
  return { client, login: id, userId: id, token };
}

function newName(): string {
  return randomBytes(16).toString('hex');
}
