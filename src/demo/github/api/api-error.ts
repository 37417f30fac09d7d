import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';

/** A refusal of the REST API, with the sentence GitHub puts into `message`. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Answers with the body of GitHub's REST errors: `message`, `documentation_url` and the status as text. */
export function sendApiError(
  error: ApiError | FastifyError,
  _request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const status = error instanceof ApiError ? error.status : (error.statusCode ?? 500);
  const message = error instanceof ApiError ? error.message : describe(status);
  return reply
    .code(status)
    .send({ message, documentation_url: 'https://docs.github.com/rest', status: String(status) });
}

function describe(status: number): string {
  return status < 500 ? 'Problems parsing JSON' : 'Server Error';
}
