// @fastify/http-proxy with Better Auth's getSession before every request: what people build in an afternoon.
import httpProxy from '@fastify/http-proxy';
import Fastify from 'fastify';
import { getSession, openAuth, registerAuth } from './better-auth.ts';
import { endWithStdin, upstreamUrl } from './listen.ts';

const app = Fastify();
const auth = await openAuth();
const people = new WeakMap<object, string>();
await registerAuth(app, auth);
await app.register(httpProxy, {
  upstream: upstreamUrl(),
  prefix: '/app',
  rewritePrefix: '/app',
  async preHandler(request, reply) {
    const session = await getSession(auth, request);
    if (!session) return reply.status(401).send({ error: 'unauthorized' });
    people.set(request, session.user.id);
  },
  replyOptions: {
    rewriteRequestHeaders: (request, headers) => ({ ...headers, 'x-forwarded-user': people.get(request) }),
  },
});
process.stdout.write(`${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
endWithStdin();
