// All or nothing, whatever becomes of the connection.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { watchStore } from '../../src/database/failures.ts';
import { openSeededStore, type SeededStore } from '../support/seeded-store.ts';

/** Where the connection that carries a COMMIT is cut: before it reaches the server, or before its answer comes back. */
type Cut = 'before' | 'after' | null;

let store: SeededStore;
let database: Database;
let proxied: string;
let proxy: Awaited<ReturnType<typeof startCuttingProxy>>;
beforeAll(async () => {
  store = await openSeededStore('postgres');
  const url = new URL(store.databaseUrl ?? '');
  proxy = await startCuttingProxy({ host: url.hostname, port: Number(url.port) });
  url.host = `127.0.0.1:${proxy.port}`;
  proxied = url.href;
  database = openDatabase({ databaseUrl: proxied, dataDir: '' });
});
afterAll(async () => {
  await database?.close();
  await proxy?.close();
  await store?.close();
});

describe('work in one transaction', () => {
  test.each([
    ['before', false],
    ['after', true],
  ] as const)('cut %s its commit arrives, tells what became of it', async (cut, isDone) => {
    for (let round = 0; round < 5; round++) {
      const token = await store.addSession(await store.addPerson());
      proxy.cut = cut;
      const outcome = await database
        .inTransaction(() => endSession(token))
        .then(
          () => 'done',
          () => 'failed',
        );
      proxy.cut = null;
      expect([outcome, await isThere(token)]).toEqual(isDone ? ['done', false] : ['failed', true]);
    }
  });

  test('cut after its commit has arrived, is no failure of the store for who watches it', async () => {
    for (let round = 0; round < 5; round++) {
      const token = await store.addSession(await store.addPerson());
      // Each time over a new connection, which tells of its end to whoever had it made.
      await database.close();
      database = openDatabase({ databaseUrl: proxied, dataDir: '' });
      proxy.cut = 'after';
      const { outcome, failure } = await watchStore(() => database.inTransaction(() => endSession(token)));
      proxy.cut = null;
      expect([outcome.status, failure, await isThere(token)]).toEqual(['fulfilled', null, false]);
    }
  });

  test('that is done stays done, whatever becomes of what was to be told', async () => {
    const token = await store.addSession(await store.addPerson());
    const { outcome, failure } = await watchStore(() =>
      database.inTransaction(async () => {
        await endSession(token);
        await database.afterTransaction(async () => {
          await sql`select nothing`.execute(database.kysely);
        });
      }),
    );
    expect([outcome.status, failure, await isThere(token)]).toEqual(['fulfilled', null, false]);
  });

  test('is taken back as a whole when a part of it fails, even if nobody mentions it', async () => {
    const token = await store.addSession(await store.addPerson());
    const work = database.inTransaction(async () => {
      await endSession(token);
      await database.kysely
        .selectFrom('session')
        .select('nothing' as 'id')
        .execute()
        .catch(() => {});
    });
    await expect(work).rejects.toThrow();
    expect(await isThere(token)).toBe(true);
  });

  test('is taken back with all that was still waiting for its turn', async () => {
    const tokens = await Promise.all(
      Array.from({ length: 3 }, async () => store.addSession(await store.addPerson())),
    );
    let others: Promise<unknown> = Promise.resolve();
    const work = database.inTransaction(async () => {
      const slow = sql`select pg_sleep(0.1)`.execute(database.kysely);
      others = Promise.allSettled([slow, ...tokens.map(endSession)]);
      // Long enough for all of them to stand in line.
      await new Promise((resolve) => setTimeout(resolve, 30));
      throw new Error('no');
    });
    await expect(work).rejects.toThrow('no');
    await others;
    expect(await Promise.all(tokens.map(isThere))).toEqual(tokens.map(() => true));
  });

  test('is taken back when it throws', async () => {
    const token = await store.addSession(await store.addPerson());
    const work = database.inTransaction(async () => {
      await endSession(token);
      throw new Error('no');
    });
    await expect(work).rejects.toThrow('no');
    expect(await isThere(token)).toBe(true);
  });

  test('holds what runs side by side in it, and transactions within it', async () => {
    const tokens = await Promise.all(
      Array.from({ length: 5 }, async () => store.addSession(await store.addPerson())),
    );
    await database.inTransaction(async () => {
      await Promise.all(tokens.map(endSession));
      await database.kysely
        .transaction()
        .execute((within) => within.selectFrom('session').select('id').execute());
      expect(await isThere(tokens[0] ?? ''), 'nobody else sees it yet').toBe(true);
    });
    expect(await Promise.all(tokens.map(isThere))).toEqual(tokens.map(() => false));
  });

  test('tells others only once the change is there, and when it was taken back, too', async () => {
    const token = await store.addSession(await store.addPerson());
    const seen: boolean[] = [];
    const look = async () => {
      seen.push(await isThere(token));
    };
    const failing = database.inTransaction(async () => {
      await endSession(token);
      await database.afterTransaction(look);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow();
    await database.inTransaction(async () => {
      await endSession(token);
      await database.afterTransaction(look);
    });
    await database.afterTransaction(look);
    expect(seen).toEqual([true, false, false]);
  });
});

const endSession = (token: string) =>
  database.kysely.deleteFrom('session').where('token', '=', token).execute();

async function isThere(token: string): Promise<boolean> {
  return (await store.rows.query('select 1 as x from session where token = $1', token)).length > 0;
}

async function startCuttingProxy(target: { host: string; port: number }) {
  const controls = { cut: null as Cut };
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    let cutsAnswer = false;
    client.on('data', (chunk) => {
      const commits = /\0?commit\0/i.test(chunk.toString('latin1'));
      if (commits && controls.cut === 'before') client.destroy();
      else upstream.write(chunk);
      cutsAnswer = commits && controls.cut === 'after';
    });
    upstream.on('data', (chunk) => (cutsAnswer ? client.destroy() : client.write(chunk)));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return Object.assign(controls, {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
