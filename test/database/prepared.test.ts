// A query is planned once, and asked all the same where its plan is not to be had: by what poolers do to connections, done
// to real ones.
import { sql } from 'kysely';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.ts';
import type { PreparedQuery } from '../../src/database/prepared.ts';
import { createDatabase, type TestDatabase } from '../support/postgres.ts';

let created: TestDatabase;
let database: Database;
let ask: PreparedQuery;
beforeEach(async () => {
  created = await createDatabase();
  // Asked one after the other, all of it goes over the same connection.
  database = openDatabase({ databaseUrl: created.url, dataDir: '' });
  await run('create table word (id int, word text)');
  await run(`insert into word values (1, 'one'), (2, 'two')`);
  ask = database.prepare('select word from word where id = $1');
});
afterEach(async () => {
  await database?.close();
  await created?.drop();
});

async function run(statement: string) {
  return (await sql.raw<{ name: string; statement: string }>(statement).execute(database.kysely)).rows;
}

const prepared = () => run('select name, statement from pg_prepared_statements');

test('it is prepared once, under a name that is its own, and answers each time with the values it is given', async () => {
  expect([await ask([1]), await ask([2]), await ask([3])]).toEqual([
    [{ word: 'one' }],
    [{ word: 'two' }],
    [],
  ]);
  const other = database.prepare('select id from word where word = $1');
  expect(await other(['two'])).toEqual([{ id: 2 }]);
  const names = (await prepared()).map(({ name }) => name);
  expect([names.length, new Set(names).size]).toEqual([2, 2]);
});

test('on a connection that was another before, it is asked without', async () => {
  await ask([1]);
  await run('deallocate all');
  expect(await ask([1])).toEqual([{ word: 'one' }]);
  expect(await ask([2])).toEqual([{ word: 'two' }]);
  expect(await prepared()).toEqual([]);
});

test('on a connection on which another has prepared it, too', async () => {
  await ask([1]);
  const [{ name = '' } = {}] = await prepared();
  await database.close();
  database = openDatabase({ databaseUrl: created.url, dataDir: '' });
  ask = database.prepare('select word from word where id = $1');
  await run(`prepare "${name}" as select word from word where id = $1`);
  expect([await ask([1]), await ask([2])]).toEqual([[{ word: 'one' }], [{ word: 'two' }]]);
});

test('after a migration it gives what there is now, and is prepared anew', async () => {
  await ask([1]);
  await run('alter table word alter column word type varchar(10)');
  expect([await ask([1]), await ask([2])]).toEqual([[{ word: 'one' }], [{ word: 'two' }]]);
  expect(await prepared()).toHaveLength(1);
});

test('what is wrong with the query itself is told', async () => {
  await run('drop table word');
  await expect(ask([1])).rejects.toThrow('relation "word" does not exist');
});
