// Questions that come within one turn of the event loop are put as one: a busy process reads many requests in a turn, and
// most of what a question costs, here and at whoever is asked, it costs once.
import { AsyncLocalStorage } from 'node:async_hooks';

/** Answers in the order of the questions. It throws for all of them. */
export type AskAll<Question, Answer> = (questions: readonly Question[]) => Promise<readonly Answer[]>;

interface Waiting<Question, Answer> {
  readonly question: Question;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The returned function puts one question, beside what others ask in this turn.
 *
 * @param most at a time: the last of more would wait for too many others
 */
export function batched<Question, Answer>(
  askAll: AskAll<Question, Answer>,
  most: number,
): (question: Question) => Promise<Answer> {
  // What is asked for many must not run in the async context of the first: in its transaction, for instance.
  const outside = AsyncLocalStorage.snapshot();
  let waiting: Waiting<Question, Answer>[] = [];
  const put = () => {
    const all = waiting;
    waiting = [];
    for (let from = 0; from < all.length; from += most) void answer(all.slice(from, from + most), askAll);
  };
  return (question) =>
    new Promise((resolve, reject) => {
      if (waiting.push({ question, resolve, reject }) === 1) setImmediate(outside, put);
    });
}

async function answer<Question, Answer>(
  some: readonly Waiting<Question, Answer>[],
  askAll: AskAll<Question, Answer>,
): Promise<void> {
  try {
    const answers = await askAll(some.map(({ question }) => question));
    some.forEach(({ resolve }, at) => {
      resolve(answers[at] as Answer);
    });
  } catch (error) {
    for (const { reject } of some) reject(error);
  }
}
