import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { State } from '../state.ts';
import { failureKinds } from './failures.ts';

const failureBody = z.strictObject({
  kind: z.enum(failureKinds),
  times: z.int().positive().optional(),
  path: z.string().startsWith('/').optional(),
  ms: z.int().nonnegative().max(600_000).optional(),
  status: z.int().min(400).max(599).optional(),
});

/** `/_control/*`: the failure switch for somebody with curl. No such thing exists at GitHub. */
export async function controlRoutes(server: FastifyInstance, { state }: { state: State }): Promise<void> {
  // `curl -d` calls everything a form: the body is read as JSON whatever it is called.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', { parseAs: 'string' }, server.getDefaultJsonParser('error', 'error'));

  server.post('/_control/fail', async (request, reply) => {
    const parsed = failureBody.safeParse(request.body);
    if (!parsed.success) return reply.code(400).send({ message: z.prettifyError(parsed.error) });
    state.failures.add(parsed.data);
    return reply.code(204).send();
  });

  server.post('/_control/heal', async (_request, reply) => {
    state.failures.heal();
    return reply.code(204).send();
  });
}
