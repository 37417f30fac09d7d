// What nginx asks with auth_request: is there a session, and whose?
import Fastify from 'fastify';
import { getSession, openAuth, registerAuth } from './better-auth.ts';
import { endWithStdin } from './listen.ts';

const app = Fastify({ keepAliveTimeout: 600_000 });
const auth = await openAuth();
await registerAuth(app, auth);
app.get('/session', async (request, reply) => {
  const session = await getSession(auth, request);
  if (!session) return reply.status(401).send();
  return reply.header('x-user', session.user.id).status(204).send();
});
process.stdout.write(`${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
endWithStdin();
