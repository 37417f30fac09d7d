// Better Auth as its documentation has people set it up: sessions in Redis as secondary storage, people in Postgres,
// its handler on a Fastify route. Arguments: upstream, Postgres, Redis.
import { betterAuth } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Redis } from 'ioredis';
import { Pool } from 'pg';

export type Auth = ReturnType<typeof createAuth>;

export async function openAuth(): Promise<Auth> {
  const [, , , databaseUrl = '', redisUrl = ''] = process.argv;
  const auth = createAuth(databaseUrl, new Redis(redisUrl));
  const { runMigrations } = await getMigrations(auth.options);
  await runMigrations();
  return auth;
}

function createAuth(databaseUrl: string, redis: Redis) {
  return betterAuth({
    baseURL: 'http://127.0.0.1',
    secret: 'a-secret-for-benchmarks-0123456789abcdef',
    database: new Pool({ connectionString: databaseUrl }),
    emailAndPassword: { enabled: true },
    telemetry: { enabled: false },
    secondaryStorage: {
      get: (key) => redis.get(key),
      set: async (key, value, ttl) =>
        void (await (ttl ? redis.set(key, value, 'EX', ttl) : redis.set(key, value))),
      delete: async (key) => void (await redis.del(key)),
      getAndDelete: (key) => redis.getdel(key),
      async increment(key, ttl) {
        const count = await redis.incr(key);
        if (count === 1) await redis.expire(key, ttl);
        return count;
      },
    },
  });
}

/** What a gateway asks on every request. */
export function getSession(auth: Auth, request: FastifyRequest) {
  return auth.api.getSession({ headers: headersOf(request) });
}

/** Sign-up and sign-in. */
export async function registerAuth(app: FastifyInstance, auth: Auth): Promise<void> {
  await app.register(async (scope) => {
    scope.route({
      method: ['GET', 'POST'],
      url: '/api/auth/*',
      async handler(request, reply) {
        const url = new URL(request.url, 'http://127.0.0.1');
        const { method } = request;
        const body = method === 'POST' ? JSON.stringify(request.body) : null;
        const answer = await auth.handler(new Request(url, { method, headers: headersOf(request), body }));
        reply.status(answer.status);
        for (const [name, value] of answer.headers) reply.header(name, value);
        return reply.send(await answer.text());
      },
    });
  });
}

function headersOf(request: FastifyRequest): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers))
    if (value !== undefined) headers.append(name, String(value));
  return headers;
}
