// The head of a request, as it is written to a target that speaks HTTP/1.1. Pure.
import type { OutgoingRequest } from './exchange.ts';

/** Methods whose request has a body by definition: servers wait for it, or for the word that there is none. */
const WITH_BODY = new Set(['POST', 'PUT', 'PATCH', 'QUERY', 'PROPFIND', 'PROPPATCH']);
/** Would end the line, or is no character of one byte. */
const UNFIT = /[^\t\x20-\x7e\x80-\xff]/;
const UNFIT_FOR_PATH = /[^\x21-\x7e\x80-\xff]/;

/** One character a byte. @returns null for a value that would not stay in its line */
export function requestHead({ method, path, headers, body, isUpgrade }: OutgoingRequest): string | null {
  if (UNFIT_FOR_PATH.test(path)) return null;
  let head = `${method} ${path} HTTP/1.1\r\n`;
  let tellsLength = false;
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] as string;
    const value = headers[at + 1] as string;
    if (UNFIT.test(value)) return null;
    if (isLength(name)) tellsLength = true;
    head += `${name}: ${value}\r\n`;
  }
  head += isUpgrade ? 'Connection: upgrade\r\nUpgrade: websocket\r\n' : 'Connection: keep-alive\r\n';
  if (body !== null && !tellsLength) head += 'Transfer-Encoding: chunked\r\n';
  else if (body === null && !tellsLength && WITH_BODY.has(method)) head += 'Content-Length: 0\r\n';
  return `${head}\r\n`;
}

/** Null where it comes in chunks. */
export function lengthIn(headers: readonly string[]): number | null {
  for (let at = 0; at < headers.length; at += 2)
    if (isLength(headers[at] as string)) return Number(headers[at + 1]);
  return null;
}

function isLength(name: string): boolean {
  return name.length === 14 && name.toLowerCase() === 'content-length';
}
