import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { inject } from 'vitest';
import { type PostgresOptions, type PostgresServer, runPostgres } from './servers/postgres-server.ts';

export type { PostgresServer } from './servers/postgres-server.ts';

export type TestDatabase = { url: string; drop(): Promise<void> };

/** A fresh, empty database on the server all tests share. `drop` also cuts the connections to it. */
export async function createDatabase(): Promise<TestDatabase> {
  const name = `test_${randomBytes(8).toString('hex')}`;
  // A copy of template0 is the only one that nobody else can be connected to.
  await administer(`create database ${name} template template0`);
  const url = new URL(inject('postgresUrl'));
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => administer(`drop database if exists ${name} with (force)`) };
}

/** A private Postgres, for tests that take it down. */
export function startPostgres(options: Pick<PostgresOptions, 'settings'> = {}): Promise<PostgresServer> {
  return runPostgres({ ...options, template: inject('postgresTemplate') ?? undefined });
}

async function administer(statement: string): Promise<void> {
  const client = new Client({ connectionString: inject('postgresUrl') });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
