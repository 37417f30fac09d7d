// The paths the gateway answers itself: never an upstream's, whatever the routes say. Pure.

export const AUTH_PATH = '/api/auth';
export const USER_SCOPES_PATH = '/api/user-scopes';
export const SIGN_IN_PAGE = '/_gateway/sign-in';
export const WEBHOOK_PATH = '/_gateway/github/webhook';

/** Ours, whether something stands there yet or not. */
export const RESERVED_PATHS = ['/_gateway', '/_gateway/*', '/.well-known/jwks.json'];

/**
 * How an endpoint treats a session that cannot be checked or is banned: `checked` ones are refused before Better
 * Auth is asked, which knows neither; `ending` ones only while the store is away; `open` ones need no session.
 */
export type SessionUse = 'checked' | 'ending' | 'open';

export interface Endpoint {
  readonly methods: readonly string[];
  readonly session: SessionUse;
}

const get = (session: SessionUse): Endpoint => ({ methods: ['GET'], session });
const post = (session: SessionUse): Endpoint => ({ methods: ['POST'], session });

/** Any other path under /api/auth is routed like any path: an application's own plugins go on working. */
export const AUTH_ENDPOINTS: Readonly<Record<string, Endpoint>> = {
  '/sign-in/social': { methods: ['GET', 'POST'], session: 'open' },
  '/callback/github': get('open'),
  '/pat-signin': post('open'),
  '/get-session': get('checked'),
  '/sign-out': post('ending'),
  '/list-sessions': get('checked'),
  '/revoke-session': post('checked'),
  '/revoke-sessions': post('checked'),
  '/revoke-other-sessions': post('checked'),
  '/list-accounts': get('checked'),
  '/update-user': post('checked'),
  '/delete-user': post('checked'),
  '/admin/*': { methods: ['GET', 'POST'], session: 'checked' },
  '/error': get('open'),
  '/ok': get('open'),
};

const OWN = [
  ...RESERVED_PATHS,
  USER_SCOPES_PATH,
  ...Object.keys(AUTH_ENDPOINTS).map((path) => `${AUTH_PATH}${path}`),
];

/**
 * Is this path ours, in whatever case and with or without a slash at its end? No request to it reaches a route.
 *
 * @param path a pattern, or a path with its escapes decoded
 */
export function isOwnPath(path: string): boolean {
  const folded = path.toLowerCase();
  return isListed(folded) || (folded.endsWith('/') && isListed(folded.slice(0, -1)));
}

function isListed(path: string): boolean {
  return OWN.some((own) => (own.endsWith('/*') ? path.startsWith(own.slice(0, -1)) : path === own));
}
