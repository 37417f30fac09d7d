import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import type { Failure, FailureKind } from './failures.ts';

type Answer = (reply: FastifyReply, failure: Failure, now: number) => Promise<unknown>;

const rateLimitDocs = 'https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api';

const answers: Record<FailureKind, Answer> = {
  'rate-limit-primary': async (reply, _failure, now) =>
    reply
      .code(403)
      .headers({
        'x-ratelimit-limit': '5000',
        'x-ratelimit-remaining': '0',
        'x-ratelimit-used': '5000',
        'x-ratelimit-reset': String(Math.ceil(now / 1000) + 1800),
        'x-ratelimit-resource': 'core',
      })
      .send({
        message: 'API rate limit exceeded for user.',
        documentation_url: rateLimitDocs,
        status: '403',
      }),

  'rate-limit-secondary': async (reply, { status = 403 }) =>
    reply
      .code(status)
      .header('retry-after', '60')
      .send({
        message: 'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.',
        documentation_url: rateLimitDocs,
        status: String(status),
      }),

  'server-error': async (reply, { status = 502 }) => reply.code(status).send({ message: 'Server Error' }),

  hang: async (reply) => reply.hijack(),

  'bad-json': async (reply) => reply.type('application/json; charset=utf-8').send('{"login": "octo'),

  slow: async (_reply, { ms = 1000 }) => {
    await delay(ms, undefined, { ref: false });
  },
};

/** Makes one request fail. `slow` only delays it: what follows answers as always. */
export async function answerFailure(reply: FastifyReply, failure: Failure, now: number): Promise<void> {
  await answers[failure.kind](reply, failure, now);
}
