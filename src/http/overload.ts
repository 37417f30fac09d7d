// More than the gateway can do is refused at the door, before anything is spent on it: requests beyond a number, and
// every request while the event loop is late. What is under way goes on, and so does the operator's port.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { GatewayError, problemOf } from '../errors.ts';
import { leaveUnread } from '../forwarding/unread-body.ts';
import { AUTH_PATH } from '../policy/own-paths.ts';
import { NO_ROUTE, type Traffic } from './traffic.ts';

export interface OverloadOptions {
  /** Requests under way; streams do not count, they have limits of their own. */
  readonly maxRequests: number;
  /** By how many milliseconds the event loop may be late. */
  readonly maxDelay: number;
}

export type HandleRequest = (request: IncomingMessage, response: ServerResponse) => void;

export interface Overload {
  /** Handles what is admitted, refuses the rest. */
  guard(handle: HandleRequest): HandleRequest;
  /** Is it refusing requests, or was until a moment ago? */
  readonly isOverloaded: boolean;
  /** Refused requests since the start. */
  readonly refused: number;
  /** By how many milliseconds the event loop was late when last looked at. */
  readonly delayMs: number;
  close(): void;
}

const LOOK_EVERY_MS = 100;
/** So many looks in a row without a refusal, and it is over. */
const QUIET_LOOKS = 10;

export function createOverload(
  { maxRequests, maxDelay }: OverloadOptions,
  traffic: Traffic,
  logger: Pick<Logger, 'warn' | 'info'>,
): Overload {
  let refused = 0;
  let isLate = false;
  const watch = watchDelay((delayMs, delayBefore) => {
    // Once may be a pause of the machine.
    isLate = delayMs > maxDelay && delayBefore > maxDelay;
    tell();
  });

  let refusedBefore = 0;
  let quietLooks = QUIET_LOOKS;
  const isOverloaded = () => quietLooks < QUIET_LOOKS;
  const tell = () => {
    const wasOverloaded = isOverloaded();
    quietLooks = refused > refusedBefore ? 0 : quietLooks + 1;
    refusedBefore = refused;
    if (isOverloaded() === wasOverloaded) return;
    if (wasOverloaded) logger.info({ refused }, 'overloaded is over');
    else
      logger.warn({ inFlight: traffic.inFlight, delayMs: watch.delayMs }, 'overloaded: requests are refused');
  };

  return {
    guard: (handle) => (request, response) => {
      if (isLate || traffic.inFlight - traffic.streams >= maxRequests) {
        refused++;
        refuse(request, response);
        traffic.on(NO_ROUTE).answered(request.method ?? '', OVERLOADED.status, 0);
      } else handle(request, response);
    },
    get isOverloaded() {
      return isOverloaded();
    },
    get refused() {
      return refused;
    },
    get delayMs() {
      return watch.delayMs;
    },
    close: watch.close,
  };
}

function watchDelay(onLook: (delayMs: number, delayBefore: number) => void) {
  let delayMs = 0;
  let due = performance.now() + LOOK_EVERY_MS;
  const timer = setInterval(() => {
    const before = delayMs;
    const now = performance.now();
    delayMs = Math.max(0, now - due);
    due = now + LOOK_EVERY_MS;
    onLook(delayMs, before);
  }, LOOK_EVERY_MS).unref();
  return {
    get delayMs() {
      return delayMs;
    },
    close: () => clearInterval(timer),
  };
}

const OVERLOADED = new GatewayError('overloaded');
const HEADERS = {
  'content-type': 'application/problem+json',
  'cache-control': 'no-store',
  'x-gateway-intercepted-response': 'true',
  ...OVERLOADED.headers,
};

/** Without a line in the log: that may cost more than the refusal. */
function refuse(request: IncomingMessage, response: ServerResponse): void {
  const requestId = randomUUID();
  const problem = problemOf(OVERLOADED, requestId);
  // As sendProblem() in errors.ts.
  const isAuth = request.url?.startsWith(`${AUTH_PATH}/`);
  const body = JSON.stringify(isAuth ? { ...problem, message: problem.detail } : problem);
  leaveUnread(request, response);
  response
    .writeHead(OVERLOADED.status, {
      ...HEADERS,
      'content-length': Buffer.byteLength(body),
      'x-request-id': requestId,
    })
    .end(body);
}
