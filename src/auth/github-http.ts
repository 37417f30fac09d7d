// How GitHub is asked: within a time, following nobody, with its refusals as the gateway's codes.
import * as z from 'zod';
import { GatewayError } from '../errors.ts';

const TIMEOUT_MS = 5000;
const USER_AGENT = 'better-hub-gateway';

/**
 * An answer GitHub gives: 2xx, or one of the accepted statuses.
 *
 * @throws {GatewayError} github-token-invalid, github-access-denied, github-unavailable
 */
export async function ask(
  url: string,
  init: RequestInit,
  accepted: readonly number[] = [],
): Promise<Response> {
  const headers = { accept: 'application/json', 'user-agent': USER_AGENT, ...init.headers };
  // A redirect would carry the token to an address nobody configured.
  const request = { ...init, headers, redirect: 'manual' as const, signal: AbortSignal.timeout(TIMEOUT_MS) };
  const answer = await fetch(url, request).catch((error: unknown) => {
    throw new GatewayError('github-unavailable', { cause: error });
  });
  if (answer.ok) return answer;
  const refusal = refusalOf(answer);
  const isAnswer = refusal.code !== 'github-unavailable' || answer.status === 422;
  if (isAnswer && accepted.includes(answer.status)) return answer;
  await discard(answer);
  throw refusal;
}

function refusalOf(answer: Response): GatewayError {
  const cause = new Error(`GitHub answered ${answer.status}`);
  if (answer.status === 401)
    return new GatewayError('github-token-invalid', { detail: 'Invalid GitHub token', cause });
  const limited = rateLimitSeconds(answer);
  if (limited !== null)
    return new GatewayError('github-unavailable', {
      status: 503,
      detail: 'GitHub limits the number of requests at the moment. Try again later.',
      retryAfterSeconds: limited,
      cause,
    });
  if (answer.status === 403 || answer.status === 404)
    return new GatewayError('github-access-denied', { cause });
  return new GatewayError('github-unavailable', { cause });
}

const LONGEST_WAIT_SECONDS = 3600;

/** Seconds until GitHub's primary or secondary limit ends; null when the answer is no limit. */
function rateLimitSeconds({ status, headers }: Response): number | null {
  const after = headers.get('retry-after');
  const spent = headers.get('x-ratelimit-remaining') === '0';
  if (status !== 429 && !(status === 403 && (after !== null || spent))) return null;
  const reset = Number(headers.get('x-ratelimit-reset') ?? Number.NaN) - Date.now() / 1000;
  const seconds = after !== null && /^\d+$/.test(after) ? Number(after) : Number.isNaN(reset) ? 60 : reset;
  return Math.min(LONGEST_WAIT_SECONDS, Math.max(1, seconds));
}

/** @throws {GatewayError} github-unavailable for anything of another shape */
export async function readJson<T>(answer: Response, schema: z.ZodType<T>): Promise<T> {
  try {
    return schema.parse(await answer.json());
  } catch (error) {
    throw new GatewayError('github-unavailable', {
      detail: 'GitHub sent an answer that cannot be read. Try again later.',
      cause: new Error('GitHub sent an unexpected body', {
        cause: error instanceof z.ZodError ? undefined : error,
      }),
    });
  }
}

/** An unread body would hold its connection. */
export async function discard(answer: Response): Promise<void> {
  if (!answer.bodyUsed) await answer.body?.cancel().catch(() => {});
}

/** Longer lists are nobody's. */
const MOST_PAGES = 50;

/**
 * Every item of a list GitHub gives in pages, or null when this token may not see it.
 *
 * @throws {GatewayError} github-token-invalid, github-unavailable
 */
export async function readPages<T>(first: string, token: string, item: z.ZodType<T>): Promise<T[] | null> {
  const items: T[] = [];
  let url: string | null = first;
  for (let page = 0; url !== null && page < MOST_PAGES; page++) {
    const answer: Response = await ask(url, { headers: { authorization: `Bearer ${token}` } }, [403, 404]);
    if (!answer.ok) {
      await discard(answer);
      return null;
    }
    items.push(...(await readJson(answer, z.array(item))));
    url = nextPage(answer, first);
  }
  return items;
}

/** The token goes to no other address. */
function nextPage({ headers }: Response, first: string): string | null {
  const [, link] = /<([^>]+)>\s*;\s*rel="?next"?/.exec(headers.get('link') ?? '') ?? [];
  if (link === undefined || !URL.canParse(link, first)) return null;
  const next = new URL(link, first);
  return next.origin === new URL(first).origin ? next.href : null;
}
