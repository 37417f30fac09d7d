// What is there already in Postgres, and is it what Better Auth and we can work with? Reads the catalogue, changes nothing.
import { type BetterAuthDBSchema, getAuthTables } from 'better-auth/db';
import { type Kysely, sql } from 'kysely';
import type { Tables } from './tables.ts';

export interface PresentTable {
  /** False for views and foreign tables, which carry no triggers. */
  readonly isTable: boolean;
  readonly columns: ReadonlyMap<string, PresentColumn>;
}

export interface PresentColumn {
  /** Postgres's own name of the type, such as `timestamptz`. */
  readonly type: string;
  readonly notNull: boolean;
  readonly hasDefault: boolean;
  readonly isUnique: boolean;
  /** It is the first column of an index that can be used: one whose making was broken off is none. */
  readonly isIndexed: boolean;
}

interface Row extends PresentColumn {
  readonly table: string;
  readonly kind: string;
  readonly column: string | null;
}

/** The tables of these names in the schema that is written to. */
export async function readPresentTables(
  kysely: Kysely<Tables>,
  names: readonly string[],
): Promise<ReadonlyMap<string, PresentTable>> {
  const { rows } = await sql<Row>`
    select c.relname as "table", c.relkind as "kind", a.attname as "column", t.typname as "type",
      a.attnotnull as "notNull", a.atthasdef or a.attidentity <> '' as "hasDefault",
      exists (select from pg_index as i where i.indrelid = c.oid and i.indisunique and i.indpred is null
        and i.indnatts = 1 and i.indkey[0] = a.attnum) as "isUnique",
      exists (select from pg_index as i where i.indrelid = c.oid and i.indisvalid and i.indpred is null
        and i.indkey[0] = a.attnum) as "isIndexed"
    from pg_class as c
    left join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_type as t on t.oid = a.atttypid
    where c.relnamespace = (select oid from pg_namespace where nspname = current_schema())
      and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relname in (${sql.join(names)})
    order by c.relname, a.attnum`.execute(kysely);
  const tables = new Map<string, { isTable: boolean; columns: Map<string, PresentColumn> }>();
  for (const { table, kind, column, ...rest } of rows) {
    const known = tables.get(table) ?? { isTable: kind === 'r' || kind === 'p', columns: new Map() };
    if (column !== null) known.columns.set(column, rest);
    tables.set(table, known);
  }
  return tables;
}

type AuthTable = BetterAuthDBSchema[string];
type Field = AuthTable['fields'][string];

/** Types that hold what is written, whatever else made the table. */
const TYPES: Readonly<Record<string, readonly string[]>> = {
  string: ['text', 'varchar', 'bpchar', 'citext'],
  boolean: ['bool'],
  date: ['timestamptz', 'timestamp'],
  number: ['int2', 'int4', 'int8', 'numeric', 'float4', 'float8'],
};
const ID: Field = { type: 'string', required: true };
/** Written as null at times; for other columns that may be empty, a default does as well. */
const WRITTEN_AS_NULL =
  /^(image|banReason|banExpires|accessToken|refreshToken|idToken|accessTokenExpiresAt|refreshTokenExpiresAt)$/;

/**
 * What of the tables that are there cannot be worked with, one line each; empty when all can.
 *
 * @param present those of Better Auth's tables that are there
 * @param authOptions the options Better Auth runs with: they say which tables and columns it wants
 */
export function tableFaults(
  present: ReadonlyMap<string, PresentTable>,
  authOptions: Parameters<typeof getAuthTables>[0],
): string[] {
  const expected = Object.values(getAuthTables(authOptions));
  const missing = expected.filter(({ modelName }) => !present.has(modelName));
  if (missing.length === expected.length) return [];
  return [
    ...missing.map(({ modelName }) => `the table "${modelName}" is missing, while others are there`),
    ...expected.flatMap((table) => faultsOf(table, present.get(table.modelName))),
  ];
}

/** By what the question who is asking looks for rows. */
const LOOKED_FOR: readonly (readonly [table: string, column: string])[] = [
  ['session', 'token'],
  ['account', 'userId'],
];

/** Of the tables that are there: statements that make the indexes without which every new session reads a whole table. */
export function missingIndexes(present: ReadonlyMap<string, PresentTable>): string[] {
  return LOOKED_FOR.flatMap(([table, column]) =>
    present.get(table)?.columns.get(column)?.isIndexed === false
      ? [`create index concurrently on "${table}" ("${column}")`]
      : [],
  );
}

function faultsOf({ modelName, fields }: AuthTable, table: PresentTable | undefined): string[] {
  if (!table) return [];
  if (!table.isTable) return [`"${modelName}" is no table`];
  const known = new Map(
    Object.entries({ id: ID, ...fields }).map(([name, field]) => [field.fieldName ?? name, field]),
  );
  const faults = [...known].map(([name, field]) => columnFault(name, field, table.columns.get(name)));
  const unknown = [...table.columns].map(([name, column]) => (known.has(name) ? null : unknownFault(column)));
  return [
    ...[...known.keys()].map((name, at) => [name, faults[at]] as const),
    ...[...table.columns.keys()].map((name, at) => [name, unknown[at]] as const),
  ].flatMap(([name, fault]) => (fault ? [`"${modelName}"."${name}" ${fault}`] : []));
}

function columnFault(name: string, field: Field, column: PresentColumn | undefined): string | null {
  const types = TYPES[String(field.type)] ?? [];
  if (!column) return `is missing (${types[0] ?? String(field.type)})`;
  if (!types.includes(column.type)) return `is of the type ${column.type} instead of ${types.join(' or ')}`;
  if (name === 'id' && !column.isUnique) return 'is not unique';
  const mayBeEmpty = !column.notNull || (column.hasDefault && !WRITTEN_AS_NULL.test(name));
  return field.required === false && !mayBeEmpty
    ? 'may not be null: the gateway has to leave it empty'
    : null;
}

/** Columns of an application's own are left to themselves, and must leave us to ourselves. */
function unknownFault({ notNull, hasDefault }: PresentColumn): string | null {
  return notNull && !hasDefault ? 'is unknown, and new rows need a value in it: give it a default' : null;
}
