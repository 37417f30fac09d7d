import type { FastifyReply, FastifyRequest } from 'fastify';

/** Sends one page of a list: `per_page` up to 100, 30 by default; `Link` names the others, as at GitHub. */
export function sendPage(
  request: FastifyRequest,
  reply: FastifyReply,
  items: readonly unknown[],
  origin: string,
): FastifyReply {
  const url = new URL(request.url, origin);
  const size = Math.min(100, wholeNumber(url.searchParams.get('per_page'), 30));
  const page = wholeNumber(url.searchParams.get('page'), 1);
  const last = Math.max(1, Math.ceil(items.length / size));
  const link = (to: number, rel: string) => {
    url.searchParams.set('page', String(to));
    return `<${url.href}>; rel="${rel}"`;
  };
  const links = [
    ...(page > 1 ? [link(page - 1, 'prev')] : []),
    ...(page < last ? [link(page + 1, 'next'), link(last, 'last')] : []),
    ...(page > 1 ? [link(1, 'first')] : []),
  ];
  if (links.length > 0) reply.header('link', links.join(', '));
  return reply.send(items.slice((page - 1) * size, page * size));
}

function wholeNumber(text: string | null, byDefault: number): number {
  return text !== null && /^[1-9]\d{0,5}$/.test(text) ? Number(text) : byDefault;
}
