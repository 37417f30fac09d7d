// One line a request, and no secret in any line: headers, queries and bodies are never handed to the logger, and
// what looks like a GitHub token is cut out of whatever is.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type DestinationStream, type Logger, pino } from 'pino';
import { statusOf } from './request-record.ts';

const GITHUB_TOKEN = /\b(gh[oprsu]_[A-Za-z0-9]{4})[A-Za-z0-9]+|\b(github_pat_[A-Za-z0-9]{4})[A-Za-z0-9_]+/g;
// Every part is bounded: clients write into the log, and a line must not cost more than its length.
const URL_PASSWORD = /\b([a-z][a-z0-9+.-]{0,15}:\/\/[^\s:@/]{0,64}):[^\s@/]{1,256}@/gi;
const LONGEST_PATH = 1024;

/**
 * @param destination stdout unless given
 * @param worker is in every line, where there are several
 */
export function createLogger(level: string, destination?: DestinationStream, worker?: number): Logger {
  const options = {
    level,
    base: worker === undefined ? null : { worker },
    formatters: { level: (label: string) => ({ level: label }) },
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: describeError },
    hooks: { streamWrite: redact },
  };
  return pino(options, destination ?? joiningLines());
}

/**
 * To stdout. The lines of requests that end in one turn of the event loop are one write; any other line is written at
 * once, with those before it. pino's own batches measure all that waits anew with every line.
 */
function joiningLines(): DestinationStream {
  const stdout = pino.destination({ sync: true, maxLength: MOST_KEPT_BYTES });
  // A disk that is full must not end the service: lines are kept for when there is room, and dropped beyond that.
  stdout.on('error', () => {});
  let waiting = '';
  const flush = () => {
    if (waiting === '') return;
    stdout.write(waiting);
    waiting = '';
  };
  return {
    write(line) {
      if (waiting === '') setImmediate(flush);
      waiting += line;
      if (waiting.length >= MOST_WAITING || !line.endsWith(END_OF_REQUEST_LINE)) flush();
    },
  };
}

const END_OF_REQUEST_LINE = '"msg":"request"}\n';
/** Characters: well below what a pipe takes at once, so that no line is cut where others write to it, too. */
const MOST_WAITING = 15_000;
const MOST_KEPT_BYTES = 1024 * 1024;

/** Cuts tokens and passwords out of a line of log. */
export function redact(line: string): string {
  // Every token has one, and few other lines.
  const withoutTokens = line.includes('_') ? line.replace(GITHUB_TOKEN, '$1$2[redacted]') : line;
  return line.includes('://') ? withoutTokens.replace(URL_PASSWORD, '$1:[redacted]@') : withoutTokens;
}

/** Message, code and cause of an error. Not its other members: libraries hang requests and headers on them. */
export function describeError(error: unknown, depth = 0): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, code, cause } = error as Error & { code?: unknown };
  const described: Record<string, unknown> = { name, message };
  if (typeof code === 'string' || typeof code === 'number') described.code = code;
  if (depth === 0) described.stack = error.stack;
  if (cause !== undefined && cause !== null && depth < 4) described.cause = describeError(cause, depth + 1);
  return described;
}

/** The message of the first cause. */
export function innermost(error: Error): string {
  let inner: unknown = error;
  for (let depth = 0; depth < 8 && inner instanceof Error && inner.cause !== undefined; depth++)
    inner = inner.cause;
  if (inner instanceof AggregateError) inner = inner.errors[0];
  const { code, message } = inner as { code?: unknown; message?: unknown };
  return String(message || code || inner);
}

export type LogRequest = (request: FastifyRequest, reply: FastifyReply) => void;

/**
 * Writes the line of a request whose answer is over, or whose client has gone: as pino would, at half its cost, because
 * the shape of the line is known.
 */
export function requestLog(log: Logger): LogRequest {
  if (!log.isLevelEnabled('info')) return () => {};
  const stream = (log as unknown as { [pino.symbols.streamSym]: DestinationStream })[pino.symbols.streamSym];
  const { worker } = log.bindings();
  return (request, reply) => stream.write(`${redact(requestLine(request, reply, worker))}\n`);
}

function requestLine(request: FastifyRequest, reply: FastifyReply, worker?: number): string {
  const { record } = request;
  const now = performance.now();
  return JSON.stringify({
    level: 'info',
    time: isoTime(),
    worker,
    requestId: request.id,
    client: record.clientAddress,
    method: request.method,
    // Without the query: it may hold codes and tokens.
    path: (record.target.path || (request.raw.url ?? '').split('?', 1)[0])?.slice(0, LONGEST_PATH),
    route: record.route,
    upstream: record.upstream,
    decision: record.decision,
    reason: record.reason,
    cause: record.cause ?? undefined,
    status: statusOf(record, reply.raw),
    completed: record.isWebSocket || reply.raw.writableFinished,
    tier: record.tier,
    userId: record.userId,
    impersonatedBy: record.impersonatedBy,
    lookupMs: rounded(record.lookupMs),
    upstreamMs: rounded(record.upstreamStartedAt && now - record.upstreamStartedAt),
    totalMs: rounded(now - record.startedAt),
    msg: 'request',
  });
}

let timeMs = 0;
let timeText = '';

/** Many requests end in one millisecond. */
function isoTime(): string {
  const now = Date.now();
  if (now !== timeMs) timeText = new Date(now).toISOString();
  timeMs = now;
  return timeText;
}

function rounded(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms * 100) / 100;
}
