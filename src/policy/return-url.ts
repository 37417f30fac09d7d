// Where may a person be sent after signing in? Only to our own pages or an origin the operator trusts. Pure.

// A backslash is a slash to browsers, and they skip tabs and line breaks inside an address.
const FORBIDDEN = /[^\x21-\x5b\x5d-\x7e\u0080-\uffff]/;

/**
 * Reads a return address as browsers would (WHATWG URL), so that what is checked is what they follow.
 *
 * @param value what the client gave: a path, or an absolute URL of a trusted origin
 * @param publicUrl the gateway's own address, without a path
 * @returns the address to use, a path where it is our own origin; null when it must not be followed
 */
export function safeReturnUrl(
  value: unknown,
  publicUrl: string,
  trustedOrigins: ReadonlySet<string>,
): string | null {
  if (typeof value !== 'string' || value.length > 2048 || FORBIDDEN.test(value)) return null;
  if (!value.startsWith('/') && !/^https?:\/\/[^@]*$/i.test(value)) return null;
  if (!URL.canParse(value, publicUrl)) return null;
  const url = new URL(value, publicUrl);
  if (url.username !== '' || url.password !== '') return null;
  if (url.origin === new URL(publicUrl).origin) return ownPath(url);
  return trustedOrigins.has(url.origin) && !value.startsWith('/') ? url.href : null;
}

function ownPath(url: URL): string | null {
  const path = `${url.pathname}${url.search}${url.hash}`;
  return path.startsWith('//') ? null : path;
}
