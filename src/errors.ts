// Every refusal and failure of the gateway: one row a code, one class, one shape on the wire.
// A leaf: imports nothing.

interface ErrorRow {
  /** HTTP status the code is answered with unless the error says otherwise. */
  readonly status: number;
  readonly title: string;
  /** What the reader of the answer can do; used when the error carries no detail of its own. */
  readonly advice: string;
}

/** The public contract: codes are stable, titles and advice may be reworded. */
export const ERRORS = {
  'ambiguous-path': row(
    400,
    'Ambiguous path',
    'Send the path in its plain form: no dot segments, empty segments, encoded slashes or control characters.',
  ),
  'bad-request': row(400, 'Bad request', 'Correct the request and send it again.'),
  'email-unverified': row(
    400,
    'No verified e-mail',
    'Verify your primary e-mail at GitHub under Settings → Emails and use a token that may read it (scope user:email), then sign in again.',
  ),
  'no-session-cookie': row(401, 'Not signed in', 'Sign in and send the session cookie.'),
  'session-expired': row(401, 'Session ended', 'The session has expired or was signed out. Sign in again.'),
  'signature-invalid': row(
    401,
    'Signature not valid',
    'Sign the delivery with the secret this gateway knows as GITHUB_WEBHOOK_SECRET.',
  ),
  'session-invalid': row(
    401,
    'Session cookie not valid',
    'The session cookie was not issued by this gateway or was changed. Sign in again.',
  ),
  'reauth-required': row(
    401,
    'GitHub token needed',
    'No usable GitHub token is stored for this person. Sign in with GitHub again.',
  ),
  'github-token-invalid': row(
    401,
    'Invalid GitHub token',
    'GitHub does not accept this token. Make a new one and sign in with it.',
  ),
  'scope-missing': row(403, 'GitHub scope missing', 'Grant the missing scopes and repeat the request.'),
  'scopes-unknown': row(
    403,
    'GitHub scopes not known',
    'The stored token does not list its scopes (fine-grained tokens do not). Sign in with GitHub or a classic token.',
  ),
  'role-missing': row(403, 'Role missing', 'Ask an administrator for one of the required roles.'),
  'user-banned': row(403, 'Banned', 'An administrator has banned this person.'),
  'membership-missing': row(
    403,
    'Not on the allow-list',
    'Ask the operator of this gateway to admit your GitHub login.',
  ),
  'github-access-denied': row(
    403,
    'GitHub denied access',
    'GitHub refuses this token. Sign in with GitHub again.',
  ),
  'cross-site-request': row(
    403,
    'Cross-site request',
    'This request came from another site. Send it from the gateway’s own origin or add the origin to trustedOrigins.',
  ),
  'impersonation-read-only': row(403, 'Impersonation is read-only', 'Stop impersonating to make changes.'),
  'route-not-found': row(404, 'No such route', 'No route of the gateway matches this path.'),
  'method-not-allowed': row(405, 'Method not allowed', 'Use one of the methods in the Allow header.'),
  'email-in-use': row(
    409,
    'E-mail belongs to someone else',
    'Another person here already has this e-mail. Sign in with the GitHub account used before, or ask an administrator.',
  ),
  'body-too-large': row(413, 'Body too large', 'Send a smaller body.'),
  'unsupported-media-type': row(415, 'Unsupported media type', 'Send application/json.'),
  'rate-limited': row(429, 'Too many requests', 'Wait for the time in Retry-After and try again.'),
  'headers-too-large': row(431, 'Headers too large', 'Send at most 32 KB of request headers.'),
  'internal-error': row(
    500,
    'Internal error',
    'The gateway failed. Its log has the cause under this request id.',
  ),
  'websocket-unsupported': row(
    501,
    'No WebSocket here',
    'The service behind the gateway is asked over HTTP/2, which carries no WebSockets here. Use plain requests or event streams.',
  ),
  'upstream-unreachable': row(
    502,
    'Upstream unreachable',
    'The service behind the gateway does not accept connections.',
  ),
  'upstream-broken': row(
    502,
    'Upstream broken',
    'The service behind the gateway sent an answer that is not valid HTTP.',
  ),
  'github-unavailable': row(502, 'GitHub unavailable', 'GitHub does not answer. Try again later.'),
  'session-store-unavailable': row(
    503,
    'Session store unavailable',
    'The gateway cannot check sessions at the moment. You are still signed in; try again shortly.',
  ),
  'upstream-unavailable': row(
    503,
    'Upstream unavailable',
    'No target of the service behind the gateway is available.',
  ),
  overloaded: row(503, 'Overloaded', 'The gateway has too much to do. Try again shortly.'),
  'upstream-timeout': row(504, 'Upstream timeout', 'The service behind the gateway did not answer in time.'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** Codes that wish the client to come back by itself; answered with Retry-After. */
const RETRY_AFTER_SECONDS: Partial<Record<ErrorCode, number>> = {
  'session-store-unavailable': 1,
  'upstream-unavailable': 1,
  overloaded: 1,
  'github-unavailable': 30,
};

export interface GatewayErrorOptions {
  /** Overrides the table's status, where one code has two (github-unavailable: 502 or 503). */
  status?: number;
  /** Shown to the client: fixed text of ours, never a message of a library. */
  detail?: string;
  /** Further members of the problem document (requiredScopes, banReason, …). */
  fields?: Record<string, unknown>;
  retryAfterSeconds?: number;
  /** Further headers of the answer (Allow). */
  headers?: Record<string, string>;
  /** For the log only. */
  cause?: unknown;
}

/** The one error class that may become an answer; anything else is answered as `internal-error`. */
export class GatewayError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly detail: string;
  readonly fields: Record<string, unknown>;
  readonly headers: Record<string, string>;

  constructor(code: ErrorCode, options: GatewayErrorOptions = {}) {
    const detail = options.detail ?? ERRORS[code].advice;
    // Where a refusal was thrown is nobody's question, and its stack costs more than the refusal.
    const { stackTraceLimit } = Error;
    if (code !== 'internal-error') Error.stackTraceLimit = 0;
    super(`${code}: ${detail}`, { cause: options.cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.name = 'GatewayError';
    this.code = code;
    this.status = options.status ?? ERRORS[code].status;
    this.detail = detail;
    this.fields = options.fields ?? {};
    this.headers = { ...retryHeader(code, options.retryAfterSeconds), ...options.headers };
  }
}

/** RFC 9457 problem document; members of the code stand beside the registered ones. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  requestId: string;
  [field: string]: unknown;
}

/** @param requestId the id in the log line and in X-Request-Id */
export function problemOf(error: GatewayError, requestId: string): Problem {
  return {
    ...error.fields,
    type: `urn:better-hub-gateway:error:${error.code}`,
    title: ERRORS[error.code].title,
    status: error.status,
    detail: error.detail,
    code: error.code,
    requestId,
  };
}

function retryHeader(code: ErrorCode, seconds = RETRY_AFTER_SECONDS[code]): Record<string, string> {
  return seconds === undefined ? {} : { 'retry-after': String(Math.max(1, Math.ceil(seconds))) };
}

function row(status: number, title: string, advice: string): ErrorRow {
  return { status, title, advice };
}
