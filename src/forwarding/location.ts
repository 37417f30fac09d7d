// A service that builds links from its Host header names its own address, which nobody outside can reach: such a
// redirect is led back through the gateway. Pure.

/** How a route changes the beginning of a path; either may be empty. */
export interface Mount {
  /** As clients ask for it. */
  readonly outside: string;
  /** As the service is asked for it. */
  readonly inside: string;
}

const SCHEME_AND_AUTHORITY = /^(?:https?:)?\/\/[^/?#\\]*/i;

/**
 * The value of Location or Content-Location as clients can follow it: a path where it named one of the upstream's own
 * targets, unchanged where it names anything else.
 */
export function publicLocation(value: string, targets: readonly { origin: string }[], mount?: Mount): string {
  const authority = SCHEME_AND_AUTHORITY.exec(value)?.[0];
  if (authority === undefined) return value;
  if (!targets.some(({ origin }) => URL.parse(authority, origin)?.origin === origin)) return value;
  const rest = value.slice(authority.length);
  return publicPath(rest.startsWith('/') ? rest : `/${rest}`, mount);
}

function publicPath(path: string, mount: Mount | undefined): string {
  if (mount === undefined || !isUnder(path, mount.inside)) return path;
  return mount.outside + path.slice(mount.inside.length);
}

/** In whole segments. */
function isUnder(path: string, prefix: string): boolean {
  return path.startsWith(prefix) && /^(?:$|[/?#])/.test(path.slice(prefix.length));
}
