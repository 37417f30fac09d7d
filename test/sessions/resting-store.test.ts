import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { restingStore } from '../../src/sessions/resting-store.ts';
import { type StoreAnswer, together } from '../../src/sessions/store.ts';

const NOTHING: StoreAnswer = { found: 'nothing' };

/** A store whose answers are given one by one. */
function slowStore() {
  const asked: { succeed(): void; fail(): void }[] = [];
  const read = () =>
    new Promise<StoreAnswer[]>((resolve, reject) => {
      asked.push({ succeed: () => resolve([NOTHING]), fail: () => reject(new Error('away')) });
    });
  return { asked, read };
}

async function failTimes(times: number) {
  const store = slowStore();
  const resting = restingStore(store.read);
  const asking = Array.from({ length: times }, () => resting.read(['token']));
  for (const question of store.asked) question.fail();
  await Promise.allSettled(asking);
  return { ...store, resting };
}

test('three failures in a row, and nobody asks for a while', async () => {
  const { asked, resting } = await failTimes(3);
  await expect(resting.read(['token'])).rejects.toThrow('away');
  expect(asked).toHaveLength(3);
});

test('two failures are no reason to rest, nor are three around an answer', async () => {
  const { asked, resting } = await failTimes(2);
  const third = resting.read(['token']);
  asked[2]?.succeed();
  expect(await third).toEqual([NOTHING]);
  const fourth = resting.read(['token']);
  asked[3]?.fail();
  await expect(fourth).rejects.toThrow('away');
  void resting.read(['token']).catch(() => {});
  expect(asked).toHaveLength(5);
});

test('one query that fails for many is one failure', async () => {
  const { asked, read } = slowStore();
  const readOne = together(restingStore(read).read);
  const failing = Array.from({ length: 5 }, (_, at) => readOne(`token-${at}`));
  await turn();
  asked[0]?.fail();
  expect((await Promise.allSettled(failing)).map(({ status }) => status)).toEqual(Array(5).fill('rejected'));
  const next = readOne('token');
  await turn();
  asked[1]?.succeed();
  expect(await next).toEqual(NOTHING);
  expect(asked).toHaveLength(2);
});

test('woken, it is asked at once', async () => {
  const { asked, resting } = await failTimes(3);
  resting.wake();
  void resting.read(['token']).catch(() => {});
  expect(asked).toHaveLength(4);
});

test('what was asked before it woke, and fails afterwards, does not put it to rest again', async () => {
  const store = slowStore();
  const resting = restingStore(store.read);
  const late = Array.from({ length: 5 }, () => resting.read(['token']));
  resting.wake();
  for (const question of store.asked) question.fail();
  await Promise.allSettled(late);
  void resting.read(['token']).catch(() => {});
  expect(store.asked).toHaveLength(6);
});
