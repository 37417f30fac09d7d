/** Whether GitHub would send somebody to `asked`: same scheme, host and port as a registered URL, and a path at or below its path. */
export function isRegisteredRedirect(registered: readonly string[], asked: string): boolean {
  const url = URL.parse(asked);
  if (!url || hasTrick(url)) return false;
  return registered.some((entry) => liesAtOrBelow(new URL(entry), url));
}

/** Adds parameters to a callback URL, keeping those it has; undefined ones are left out. */
export function callbackWith(redirectUri: string, parameters: Record<string, string | undefined>): string {
  const url = new URL(redirectUri);
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) url.searchParams.set(name, value);
  }
  return url.href;
}

// An encoded slash hides a `..` from URL parsing that the application behind the callback may decode.
function hasTrick(url: URL): boolean {
  return url.username !== '' || url.password !== '' || url.hash !== '' || /%2f|%5c/i.test(url.pathname);
}

function liesAtOrBelow(base: URL, url: URL): boolean {
  const folder = base.pathname.endsWith('/') ? base.pathname : `${base.pathname}/`;
  const samePlace = url.protocol === base.protocol && url.host === base.host;
  return samePlace && (url.pathname === base.pathname || url.pathname.startsWith(folder));
}
