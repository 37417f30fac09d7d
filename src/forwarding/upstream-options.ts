// The settings of an upstream, declared once: type, default, limits and documentation.
import { isIP } from 'node:net';
import * as z from 'zod';
import { duration, durationSchema } from '../duration.ts';
import { plainAddress } from '../policy/client-address.ts';
import { identityPresetSchema } from '../policy/identity.ts';

const targetSchema = z
  .string()
  .describe('Address of the service: http:// or https://, host and port; or unix: and the path of a socket.')
  .superRefine((target, context) => {
    const fault = targetFault(target);
    if (fault) context.addIssue({ code: 'custom', message: fault });
  });

const tlsSchema = z
  .strictObject({
    ca: z
      .string()
      .min(1)
      .optional()
      .describe('File of the certificates to trust (PEM), instead of those that come with Node.'),
    cert: z.string().min(1).optional().describe('File of the certificate the gateway shows (PEM).'),
    key: z.string().min(1).optional().describe('File of the private key of cert (PEM).'),
    serverName: z
      .string()
      .regex(/^[A-Za-z0-9.-]+$/, 'must be a host name')
      .optional()
      .describe('Name the service’s certificate must be for, where it is not the host of the target.'),
  })
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), 'needs cert and key, or neither');

export type TlsOptions = z.output<typeof tlsSchema>;

export const upstreamSchema = z
  .strictObject({
    targets: z
      .array(targetSchema)
      .min(1)
      .describe('Addresses of the service; the least busy is asked, of equals each in turn.'),
    protocol: z
      .enum(['http1', 'h2', 'h2c'])
      .default('http1')
      .describe('Protocol spoken to the targets: HTTP/1.1, HTTP/2 over TLS, or HTTP/2 without TLS.'),
    identity: identityPresetSchema.default('oauth2-proxy'),
    githubToken: z
      .enum(['none', 'forwarded', 'bearer'])
      .default('none')
      .describe(
        'Send the GitHub token: not at all, as X-Forwarded-Access-Token, or as Authorization: Bearer.',
      ),
    githubTokenExpires: z
      .enum(['none', 'forwarded'])
      .default('none')
      .describe('forwarded: tell with the GitHub token when it ends, as X-Gateway-Token-Expires.'),
    plainHttpToken: z
      .enum(['refuse', 'allow'])
      .default('refuse')
      .describe('allow: send the token over plain http to hosts other than loopback (container networks).'),
    cookies: z
      .enum(['strip', 'pass'])
      .default('strip')
      .describe('pass: the session cookies go up, for a service that reads Better Auth sessions itself.'),
    setCookies: z
      .enum(['strip', 'pass'])
      .default('strip')
      .describe('pass: the service may set the session cookies, too.'),
    timeouts: z
      .strictObject({
        connect: duration('2s').describe('Time to open a connection.'),
        headers: duration('30s').describe('Time from the request to the first line of the answer.'),
        idle: duration('5m').describe(
          'Longest silence within an answer, or of a client that reads nothing of it.',
        ),
        stream: duration('1h').describe('Longest silence of an event stream or WebSocket.'),
      })
      .prefault({}),
    tls: tlsSchema.optional().describe('Certificates for https:// targets; they are always verified.'),
    health: z
      .strictObject({
        path: z.string().regex(/^\/[\x21-\x7e]*$/, 'must be a path such as /healthz'),
        interval: duration('5s').describe('Time between two checks of one target.'),
        timeout: duration('2s').describe('Time for the answer to a check.'),
        healthy: z
          .int()
          .min(1)
          .default(2)
          .describe('Checks that must pass in a row before it is in turn again.'),
        unhealthy: z
          .int()
          .min(1)
          .default(2)
          .describe('Checks that must fail in a row before it is out of turn.'),
      })
      .optional()
      .describe('Checks that take a target out of turn while it does not answer with 2xx or 3xx.'),
    ejection: z
      .strictObject({
        failures: z
          .int()
          .min(1)
          .default(3)
          .describe('Requests in a row that could not connect, or were not answered in time.'),
        time: duration('1s').describe(
          'How long the target is then out of turn, the first time; twice that the next.',
        ),
        maxTime: duration('30s').describe('Longest time out of turn.'),
      })
      .prefault({})
      .describe('Takes a target out of turn that cannot be reached, while there is another.'),
    slowStart: z
      .union([z.literal('off').transform(() => 0), durationSchema], {
        error: 'must be off, or a duration such as 500ms, 2s, 5m or 1h',
      })
      .prefault('10s')
      .describe('Time in which a target that is back grows into its share of the requests; or off.'),
    maxConnections: z
      .int()
      .min(1)
      .default(512)
      .describe(
        'Requests under way to one target, each on a connection; further ones wait. Streams do not count.',
      ),
    queue: z
      .strictObject({
        size: z.int().min(0).default(128).describe('How many requests may wait; further ones get 503.'),
        wait: duration('1s').describe('How long one may wait; then it gets 503.'),
      })
      .prefault({})
      .describe('Requests that wait while every target has as many as it may have.'),
    keepAlive: duration('4s').describe(
      'How long an idle connection is kept, where the target does not say (Keep-Alive): shorter than the target does.',
    ),
    connectionLife: duration('5m').describe('How long one connection is used for further requests.'),
  })
  .superRefine((upstream, context) => {
    for (const [at, target] of upstream.targets.entries()) {
      const message = protocolFault(target, upstream.protocol);
      if (message !== null) context.addIssue({ code: 'custom', path: ['targets', at], message });
    }
    if (upstream.tls && !upstream.targets.some((target) => target.startsWith('https:')))
      context.addIssue({
        code: 'custom',
        path: ['tls'],
        message: 'is for https:// targets, and there is none',
      });
    if (upstream.githubToken === 'none' || upstream.plainHttpToken === 'allow') return;
    for (const [at, target] of upstream.targets.entries()) {
      if (sendsInTheClear(target))
        context.addIssue({
          code: 'custom',
          path: ['targets', at],
          message: `would carry GitHub tokens in the clear: use https, or plainHttpToken: allow within a container network`,
        });
    }
  });

export type UpstreamOptions = z.output<typeof upstreamSchema>;

/** Why this target cannot be used; null when it can. */
export function targetFault(target: string): string | null {
  const socketPath = socketPathOf(target);
  if (socketPath !== null) return socketFault(socketPath);
  if (!/^https?:\/\//.test(target) || !URL.canParse(target))
    return 'must be an http:// or https:// address, or unix: and the path of a socket';
  const url = new URL(target);
  if (url.username || url.password) return 'must not carry a user or password';
  if (url.pathname !== '/' || url.search || url.hash) return 'must end after host and port (see stripPrefix)';
  if (isLinkLocal(url.hostname)) return 'must not be a link-local address: cloud metadata lives there';
  return null;
}

/** Of `unix:/run/api.sock`; null for any other address. */
export function socketPathOf(target: string): string | null {
  return target.startsWith('unix:') ? target.slice('unix:'.length) : null;
}

/** What the system takes (unix(7)); longer paths would be cut. */
const LONGEST_SOCKET_PATH_BYTES = 107;

function socketFault(path: string): string | null {
  if (!path.startsWith('/') || path.startsWith('//') || path.includes('\0'))
    return 'must be the whole path of a socket, such as unix:/run/api.sock';
  if (Buffer.byteLength(path) > LONGEST_SOCKET_PATH_BYTES)
    return `must be at most ${LONGEST_SOCKET_PATH_BYTES} bytes long behind unix:`;
  return null;
}

function protocolFault(target: string, protocol: 'http1' | 'h2' | 'h2c'): string | null {
  if (protocol === 'h2' && !target.startsWith('https:'))
    return 'must be https:// for protocol h2: HTTP/2 without TLS is h2c';
  if (protocol === 'h2c' && target.startsWith('https:'))
    return 'must be http:// or unix: for protocol h2c: HTTP/2 over TLS is h2';
  return null;
}

/** Does plain http to this target leave the machine? */
export function sendsInTheClear(target: string): boolean {
  if (!URL.canParse(target)) return false;
  const url = new URL(target);
  return url.protocol === 'http:' && !isLoopback(url.hostname);
}

/** @param hostname as WHATWG URL gives it: lower case, IPv6 in brackets */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    (isIP(hostname) === 4 && hostname.startsWith('127.'))
  );
}

function isLinkLocal(hostname: string): boolean {
  const address = plainAddress(hostname.replace(/^\[|\]$/g, ''));
  if (isIP(address) === 4) return address.startsWith('169.254.');
  return /^fe[89ab][0-9a-f]:/.test(address) || address === 'fd00:ec2::254';
}
