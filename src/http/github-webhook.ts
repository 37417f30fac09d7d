// GitHub tells when a person withdraws what they allowed this gateway: POST /_gateway/github/webhook.
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import * as z from 'zod';
import { GatewayError } from '../errors.ts';
import { WEBHOOK_PATH } from '../policy/own-paths.ts';
import { MAX_BODY_BYTES, smallBody } from './small-body.ts';

export interface WebhookParts {
  /** GitHub signs with it; null: no deliveries are taken. */
  readonly secret: string | null;
  /** Ends the sessions of the person with this GitHub id; throws when the store fails. */
  readonly endAuthorization: (githubId: string) => Promise<number>;
  readonly logger: Pick<Logger, 'info'>;
}

const SIGNATURE = /^sha256=[0-9a-f]{64}$/;

const revokedSchema = z.object({
  action: z.literal('revoked'),
  sender: z.object({ id: z.int().positive() }),
});

/** In a scope of its own: it reads bodies as they come. */
export function registerGitHubWebhook(
  app: FastifyInstance,
  { secret, endAuthorization, logger }: WebhookParts,
): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: MAX_BODY_BYTES }, (_request, body, done) =>
    done(null, body),
  );
  app.addHook('preParsing', smallBody);
  app.route({
    method: app.supportedMethods,
    url: WEBHOOK_PATH,
    onRequest: async (request) => {
      request.record.route = WEBHOOK_PATH;
      if (secret === null) throw new GatewayError('route-not-found');
      if (request.method !== 'POST')
        throw new GatewayError('method-not-allowed', { headers: { allow: 'POST' } });
      // Before anything of a body is waited for.
      if (!SIGNATURE.test(String(request.headers['x-hub-signature-256'])))
        throw new GatewayError('signature-invalid');
    },
    handler: async (request, reply) => {
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      if (!isSigned(body, request.headers['x-hub-signature-256'], secret ?? ''))
        throw new GatewayError('signature-invalid');
      const githubId = withdrawnBy(request.headers['x-github-event'], payloadOf(body));
      if (githubId !== null) {
        const ended = await endAuthorization(githubId).catch((cause: unknown) => {
          throw new GatewayError('session-store-unavailable', { cause });
        });
        logger.info(
          { requestId: request.id, githubId, ended },
          'a person withdrew their authorization at GitHub',
        );
      }
      return reply.code(204).send();
    },
  });
}

/** In the same time whatever is wrong with it. */
function isSigned(body: Buffer, given: string | string[] | undefined, secret: string): boolean {
  const expected = Buffer.from(`sha256=${createHmac('sha256', secret).update(body).digest('hex')}`);
  const actual = Buffer.from(typeof given === 'string' ? given : '');
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

/** JSON, or a form with JSON in its field `payload`: as the webhook is set up at GitHub. */
function payloadOf(body: Buffer): unknown {
  const text = body.toString('utf8');
  try {
    return JSON.parse(text.startsWith('payload=') ? (new URLSearchParams(text).get('payload') ?? '') : text);
  } catch {
    throw new GatewayError('bad-request', { detail: 'The delivery holds no JSON.' });
  }
}

/** Whoever withdrew their authorization, by their GitHub id; null for everything else GitHub may tell. */
function withdrawnBy(event: string | string[] | undefined, payload: unknown): string | null {
  if (event !== 'github_app_authorization') return null;
  const parsed = revokedSchema.safeParse(payload);
  return parsed.success ? String(parsed.data.sender.id) : null;
}
