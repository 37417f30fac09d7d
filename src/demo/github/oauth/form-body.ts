import type { FastifyInstance } from 'fastify';

/** Lets a part of the server read urlencoded forms; only there, so that no page of another site can post to the rest. */
export function acceptForms(server: FastifyInstance): void {
  server.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    async (_request: unknown, body: string | Buffer) => new URLSearchParams(String(body)),
  );
}

/** A form or a flat JSON object as parameters; values that are no text are left out. */
export function bodyParameters(body: unknown): URLSearchParams {
  if (body instanceof URLSearchParams) return body;
  const entries = Object.entries(body ?? {}).filter((entry) => typeof entry[1] === 'string');
  return new URLSearchParams(entries);
}
