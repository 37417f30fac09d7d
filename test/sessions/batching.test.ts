// What is asked within one turn is asked at once; everybody gets the answer to their own question.
import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { batched } from '../../src/sessions/batching.ts';

function asking(answer: (question: number) => string = (question) => `answer ${question}`) {
  const asked: number[][] = [];
  const ask = batched(async (questions: readonly number[]) => {
    asked.push([...questions]);
    await turn();
    return questions.map(answer);
  }, 64);
  return { ask, asked };
}

const upTo = (count: number) => Array.from({ length: count }, (_, at) => at);

test('one by one, what is asked in one turn is put at once, and what comes in the next with the next', async () => {
  const { ask, asked } = asking();
  const first = [ask(1), ask(2)];
  await turn();
  const second = [ask(3)];
  expect(await Promise.all([...first, ...second])).toEqual(['answer 1', 'answer 2', 'answer 3']);
  expect(asked).toEqual([[1, 2], [3]]);
});

test('the same question twice is answered twice', async () => {
  const { ask } = asking();
  expect(await Promise.all([ask(1), ask(1)])).toEqual(['answer 1', 'answer 1']);
});

test('at most 64 at a time, and none is left out', async () => {
  const { ask, asked } = asking();
  const answers = await Promise.all(upTo(150).map(ask));
  expect(answers).toEqual(upTo(150).map((question) => `answer ${question}`));
  expect(asked.map(({ length }) => length)).toEqual([64, 64, 22]);
});

test('a failure is told to whoever asked with it, and to nobody else', async () => {
  const { ask } = asking((question) => {
    if (question === 1) throw new Error('no');
    return 'yes';
  });
  const failing = [ask(1), ask(2)];
  const settling = Promise.allSettled(failing);
  await turn();
  expect(await ask(3)).toBe('yes');
  expect((await settling).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
});

test('it is put in nobody’s async context', async () => {
  const context = new AsyncLocalStorage<string>();
  const seen: (string | undefined)[] = [];
  const ask = batched(async (questions: readonly number[]) => {
    await turn();
    seen.push(context.getStore());
    return questions;
  }, 64);
  await context.run('of the first', async () => {
    expect(await ask(1)).toBe(1);
    expect(context.getStore()).toBe('of the first');
  });
  expect(seen).toEqual([undefined]);
});
