// Does a person look at the answer, or a program?
import type { FastifyRequest } from 'fastify';

/**
 * A page is wanted where a browser navigates; older browsers, without Sec-Fetch headers, are known by what they
 * accept. Scripts and fetch() get the problem document: a redirect would hide the 401 from them.
 */
export function wantsPage(request: FastifyRequest): boolean {
  if (request.method !== 'GET' && request.method !== 'HEAD') return false;
  const mode = request.headers['sec-fetch-mode'];
  if (mode !== undefined) return mode === 'navigate';
  return prefersHtml(request.headers.accept ?? '');
}

/** The first of the types that weigh most (RFC 9110 section 12.5.1). */
function prefersHtml(accept: string): boolean {
  const types = accept.split(',').map((part) => {
    const [type = '', ...parameters] = part.split(';').map((each) => each.trim().toLowerCase());
    const weight = parameters.find((each) => each.startsWith('q='))?.slice(2);
    return { type, weight: weight === undefined ? 1 : Number(weight) || 0 };
  });
  const most = Math.max(...types.map(({ weight }) => weight));
  const first = types.find(({ weight }) => weight === most && weight > 0)?.type;
  return first === 'text/html' || first === 'application/xhtml+xml';
}
