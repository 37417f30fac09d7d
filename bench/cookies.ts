// The Cookie header every contender is sent: as long as a browser's usually is, whoever reads it.
const LENGTH = 1400;
const COMMON = 'theme=dark; ';

/** As Better Auth's cookies look, for those who know no session. */
const NOBODY = `better-auth.session_token=${'A'.repeat(32)}.${'B'.repeat(43)}%3D; better-auth.session_data=${'C'.repeat(1000)}`;

/** @param own the contender's session cookies */
export function cookieHeader(own: string = NOBODY): string {
  const known = `${COMMON}${own}; consent=`;
  return known + 'b'.repeat(Math.max(8, LENGTH - known.length));
}

/** `name=value; name=value` of an answer's Set-Cookie lines. */
export function cookiesOf(answer: Response): string {
  return answer.headers
    .getSetCookie()
    .map((line) => line.split(';', 1)[0])
    .join('; ');
}
