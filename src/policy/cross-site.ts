// Did another site make the browser send this? Pure.

/** The two headers by which browsers tell where a request comes from. */
export interface RequestOrigin {
  readonly secFetchSite: string | undefined;
  readonly origin: string | undefined;
}

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** Methods that must not change anything (RFC 9110 section 9.2.1). */
export function isSafeMethod(method: string): boolean {
  return SAFE_METHODS.has(method);
}

/**
 * Neither header: not a browser, and no cookie was sent behind a person's back. Otherwise the browser must say
 * that the request is the person's own (`none`) or same-origin, or name an origin we trust.
 *
 * @param trustedOrigins the public origin and the configured ones, as browsers write them
 */
export function isCrossSite(from: RequestOrigin, trustedOrigins: ReadonlySet<string>): boolean {
  if (from.secFetchSite === undefined && from.origin === undefined) return false;
  if (from.secFetchSite === 'same-origin' || from.secFetchSite === 'none') return false;
  return from.origin === undefined || !trustedOrigins.has(from.origin);
}

/** Is this an origin just as browsers write it in the Origin header? `null` is none. */
export function isOrigin(text: string): boolean {
  return (
    /^https?:\/\//.test(text) && !text.includes('*') && URL.canParse(text) && new URL(text).origin === text
  );
}
