// Our own tables, beside Better Auth's: their names begin with gateway_.
import type { CompiledQuery } from 'kysely';
import type { Database } from './database.ts';

/** What makes each of them. */
export function ownTables({ kysely: { schema }, kind }: Database): Readonly<Record<string, CompiledQuery>> {
  const date = kind === 'postgres' ? 'timestamptz' : 'text';
  return {
    gateway_github_profile: schema
      .createTable('gateway_github_profile')
      .addColumn('userId', 'text', (column) => column.primaryKey().references('user.id').onDelete('cascade'))
      .addColumn('githubId', 'text', (column) => column.notNull().unique())
      .addColumn('login', 'text', (column) => column.notNull())
      .addColumn('tokenKind', 'text', (column) => column.notNull())
      .addColumn('tokenExpiresAt', date)
      .addColumn('scopesKnown', 'integer', (column) => column.notNull())
      .addColumn('updatedAt', date, (column) => column.notNull())
      .compile(),
    gateway_ended_session: schema
      .createTable('gateway_ended_session')
      .addColumn('tokenHash', 'text', (column) => column.primaryKey())
      .addColumn('userId', 'text', (column) => column.notNull().references('user.id').onDelete('cascade'))
      .addColumn('until', date, (column) => column.notNull())
      .compile(),
    gateway_github_check: schema
      .createTable('gateway_github_check')
      .addColumn('userId', 'text', (column) => column.primaryKey().references('user.id').onDelete('cascade'))
      .addColumn('refusedToken', 'text')
      .addColumn('memberships', 'text')
      .addColumn('membershipsAsked', 'text')
      .addColumn('checkedAt', date, (column) => column.notNull())
      .compile(),
  };
}
