// Which host is asked for, and which hosts does a route serve? Pure.
import { isIPv6 } from 'node:net';
import * as z from 'zod';

// Names as they are resolved (letters, digits, `-`, `_`), IPv4, or IPv6 in brackets; then a port.
const HOST = /^(?:[a-z0-9_][a-z0-9._-]*|\[([0-9a-f:.]+)\])(?::(\d{1,5}))?$/i;
const LABEL = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?';
const PATTERN = new RegExp(`^(?:\\*\\.)?${LABEL}(?:\\.${LABEL})*$|^\\[[0-9a-f:.]+\\]$`);

export const hostPatternSchema = z
  .string()
  .regex(
    PATTERN,
    'must be a host name in lower case, without a port, such as hub.example.com or *.example.com',
  );

/** May this stand in a Host header (RFC 9110 section 7.2)? */
export function isWellFormedHost(host: string): boolean {
  const [whole, address, port] = HOST.exec(host) ?? [];
  if (whole === undefined) return false;
  return (address === undefined || isIPv6(address)) && (port === undefined || Number(port) <= 65_535);
}

/** The name in a Host header as patterns give it: lower case, without port and without a dot at its end. */
export function hostName(host: string): string {
  const name = host.replace(/:\d*$/, '').toLowerCase();
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

/** What DNS can hold: whoever looks at every part of a name must not be kept busy by it. */
const LONGEST_NAME = 255;

/** The patterns that cover a name, the most specific first: itself, then `*.` and ever less of it. */
export function hostPatterns(name: string): string[] {
  if (name.length > LONGEST_NAME) return [];
  const patterns = [name];
  for (let at = name.indexOf('.'); at !== -1; at = name.indexOf('.', at + 1))
    patterns.push(`*${name.slice(at)}`);
  return patterns;
}
