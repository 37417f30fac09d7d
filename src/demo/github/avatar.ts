import type { FastifyInstance } from 'fastify';

/** `/avatars/u/{id}`: a plain disc in a colour of the id, so that a demo shows a picture without the internet. */
export async function avatarRoutes(server: FastifyInstance): Promise<void> {
  server.get<{ Params: { id: string } }>('/avatars/u/:id', async (request, reply) => {
    const hue = (Number.parseInt(request.params.id, 10) * 47) % 360 || 0;
    const disc = `<circle cx="32" cy="32" r="32" fill="hsl(${hue} 60% 45%)"/>`;
    return reply
      .type('image/svg+xml')
      .send(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">${disc}</svg>`);
  });
}
