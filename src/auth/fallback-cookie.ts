// Has Better Auth make a fresh JWE cookie for a session that is used through proxied requests alone.
import { ownCookieName, setCookieName } from '../policy/cookies.ts';

export interface FallbackCookieParts {
  /** Better Auth, told the truth about failures; see call.ts. */
  readonly callAuth: (request: Request) => Promise<Response>;
  /** Makes a Cookie header fit for Better Auth. */
  readonly authCookies: (header: string) => string | undefined;
  /** Names of cookies that the new ones leave behind. */
  readonly staleCookies: (header: string, setCookies: readonly string[]) => string[];
  readonly publicUrl: string;
}

/** The returned function gives Set-Cookie lines, none when the session is gone. It throws what callAuth throws. */
export function fallbackCookieIssuer(
  parts: FallbackCookieParts,
): (cookieHeader: string) => Promise<string[]> {
  const { callAuth, authCookies, staleCookies, publicUrl } = parts;
  return async (cookieHeader) => {
    const cookie = authCookies(cookieHeader);
    if (cookie === undefined) return [];
    const request = new Request(`${publicUrl}/api/auth/get-session`, { headers: { cookie } });
    const lines = (await callAuth(request)).headers.getSetCookie().filter(makesJwe);
    return [...lines, ...staleCookies(cookieHeader, lines).map(endingLine)];
  };
}

/** Of a session that is gone, Better Auth ends the cookies: that is for its own endpoints to say. */
function makesJwe(line: string): boolean {
  return ownCookieName(setCookieName(line)) === 'session_data' && !/;\s*max-age=0/i.test(line);
}

function endingLine(name: string): string {
  return `${name}=; Max-Age=0; Path=/; HttpOnly${name.startsWith('__Secure-') ? '; Secure' : ''}; SameSite=Lax`;
}
