// The head of a request, as it is written to a target that speaks HTTP/1.1. Pure.
import type { OutgoingRequest } from './exchange.ts';

/** Methods whose request has a body by definition: servers wait for it, or for the word that there is none. */
const WITH_BODY = new Set(['POST', 'PUT', 'PATCH', 'QUERY', 'PROPFIND', 'PROPPATCH']);
/** Would end the line, or is no character of one byte. */
const UNFIT = /[^\t\x20-\x7e\x80-\xff]/;
const UNFIT_FOR_PATH = /[^\x21-\x7e\x80-\xff]/;

/** One character a byte. @returns null for a value that would not stay in its line */
export function requestHead(request: OutgoingRequest): string | null {
  const { method, path, headers } = request;
  const lines = fieldLines(headers);
  const identity = request.identity.lines;
  if (lines === null || identity === null || UNFIT_FOR_PATH.test(path)) return null;
  return `${method} ${path} HTTP/1.1\r\n${lines}${identity}${connectionFields(request)}\r\n`;
}

function connectionFields({ method, headers, body, isUpgrade }: OutgoingRequest): string {
  if (isUpgrade) return 'Connection: upgrade\r\nUpgrade: websocket\r\n';
  if (body !== null && lengthIn(headers) === null)
    return 'Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n';
  if (body === null && WITH_BODY.has(method)) return 'Connection: keep-alive\r\nContent-Length: 0\r\n';
  return 'Connection: keep-alive\r\n';
}

/** Names and values in turn, a line each. @returns null for a value that would not stay in its line */
export function fieldLines(headers: readonly string[]): string | null {
  let text = '';
  for (let at = 0; at < headers.length; at += 2) {
    const value = headers[at + 1] as string;
    if (UNFIT.test(value)) return null;
    text += `${headers[at]}: ${value}\r\n`;
  }
  return text;
}

/** Null where it comes in chunks. */
export function lengthIn(headers: readonly string[]): number | null {
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] as string;
    if (name.length === 14 && name.toLowerCase() === 'content-length') return Number(headers[at + 1]);
  }
  return null;
}
