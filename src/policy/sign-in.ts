// What may a client ask for when it starts to sign someone in? By link or by POST, the same. Pure.
import { SIGN_IN_PAGE } from './own-paths.ts';
import { safeReturnUrl } from './return-url.ts';

/** The body Better Auth's sign-in/social is called with; nothing of a client's goes there unread. */
export interface SignInStart {
  provider: string;
  callbackURL: string;
  errorCallbackURL?: string;
  newUserCallbackURL?: string;
  scopes?: string[];
  loginHint?: string;
  disableRedirect?: boolean;
}

export type SignInStartResult = { ok: true; start: SignInStart } | { ok: false; fault: string };

const RETURN_PARAMETERS = ['callbackURL', 'errorCallbackURL', 'newUserCallbackURL'] as const;
const SCOPE = /^[a-z][a-z0-9_:-]{0,63}$/;
const MOST_SCOPES = 50;
const LOGIN = /^[A-Za-z0-9-]{1,39}$/;

/** @param asked query parameters of the link, or members of the body: of unknown types, from a client */
export function readSignInStart(
  asked: Readonly<Record<string, unknown>>,
  publicUrl: string,
  trustedOrigins: ReadonlySet<string>,
): SignInStartResult {
  const start: SignInStart = {
    provider: typeof asked.provider === 'string' ? asked.provider : 'github',
    callbackURL: '/',
  };
  for (const name of RETURN_PARAMETERS) {
    if (asked[name] === undefined || asked[name] === null) continue;
    const url = safeReturnUrl(asked[name], publicUrl, trustedOrigins);
    if (url === null)
      return { ok: false, fault: `${name} must be a path here or an address of a trusted origin.` };
    start[name] = url;
  }
  // Who cancels at GitHub, or fails there, finds the way back on the sign-in page.
  start.errorCallbackURL ??= `${SIGN_IN_PAGE}?callbackURL=${encodeURIComponent(start.callbackURL)}`;
  const scopes = readScopes(asked.scopes);
  if (scopes === null)
    return { ok: false, fault: 'scopes must be a list of GitHub scopes, such as repo,workflow.' };
  if (scopes.length > 0) start.scopes = scopes;
  if (typeof asked.loginHint === 'string' && LOGIN.test(asked.loginHint)) start.loginHint = asked.loginHint;
  if (asked.disableRedirect === true) start.disableRedirect = true;
  return { ok: true, start };
}

function readScopes(asked: unknown): string[] | null {
  const list =
    typeof asked === 'string' ? asked.split(/[\s,]+/).filter((scope) => scope !== '') : (asked ?? []);
  if (!Array.isArray(list) || list.length > MOST_SCOPES) return null;
  return list.every((scope) => typeof scope === 'string' && SCOPE.test(scope)) ? list : null;
}
