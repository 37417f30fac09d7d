// Do all servers read this head alike: where the request ends, and whose it is? Pure.
// Node's parser refuses most of what is not HTTP by itself; judged here is what it lets through.
import { isIPv6 } from 'node:net';

/** The members of node:http's IncomingMessage that are judged. */
export interface RequestHead {
  readonly httpVersionMajor: number;
  readonly httpVersionMinor: number;
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** @returns what is wrong, in words for the client; null when nothing is */
export function framingFault({
  httpVersionMajor,
  httpVersionMinor,
  rawHeaders,
  headers,
}: RequestHead): string | null {
  // RFC 9112 section 2.3: Node reads HTTP/0.9 and the preface of HTTP/2 as requests, too.
  if (httpVersionMajor !== 1 || httpVersionMinor > 1) return 'Speak HTTP/1.1 or HTTP/1.0.';
  const encoding = headers['transfer-encoding'];
  if (encoding !== undefined) {
    // Node joins several lines with commas. A coding we do not undo would be taken off by nobody (section 6.1).
    if (String(encoding).toLowerCase() !== 'chunked') return 'Send Transfer-Encoding: chunked, or none.';
    if (headers['content-length'] !== undefined || httpVersionMinor === 0)
      return 'Send Transfer-Encoding in HTTP/1.1 and without Content-Length.';
  }
  return hostFault(rawHeaders, httpVersionMinor);
}

function hostFault(rawHeaders: readonly string[], httpVersionMinor: number): string | null {
  let host: string | null = null;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (name.length !== 4 || name.toLowerCase() !== 'host') continue;
    if (host !== null) return 'Send one Host header.';
    host = rawHeaders[at + 1] as string;
  }
  if (host === null) return httpVersionMinor === 0 ? null : 'Send a Host header.';
  return isHost(host) ? null : 'Send a Host header of a name or address, and a port where there is one.';
}

const HOST = /^(?:[A-Za-z0-9\-._~]+|\[([0-9A-Fa-f:.]+)\])(?::(\d{1,5}))?$/;

function isHost(host: string): boolean {
  const parts = HOST.exec(host);
  if (parts === null) return false;
  const [, address, port] = parts;
  return (address === undefined || isIPv6(address)) && (port === undefined || Number(port) <= 65_535);
}
