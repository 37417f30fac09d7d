// Whose request is this, seen through the proxies we trust? Pure.
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

/** Is this socket address one of the configured proxies? */
export type IsTrusted = (address: string) => boolean;

/** @param entries addresses or CIDR ranges, already checked by the configuration */
export function trustAddresses(entries: readonly string[]): IsTrusted {
  if (entries.length === 0) return () => false;
  const list = new BlockList();
  for (const entry of entries) {
    const [address = '', prefix] = entry.split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return (address) => list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

/** Undoes the IPv6 spelling of an IPv4 address that dual-stack sockets report, however it is written. */
export function plainAddress(address: string): string {
  if (!address.includes(':')) return address;
  const usual = USUAL.exec(address)?.[1];
  if (usual !== undefined && isIPv4(usual)) return usual;
  if (!isIPv6(address)) return address;
  const [, high, low] = MAPPED.exec(hexForm(address)) ?? [];
  if (high === undefined || low === undefined) return address;
  return [high, low].flatMap(twoBytes).join('.');
}

/** As sockets spell it; every request behind one asks. */
const USUAL = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/;
const MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/** The one spelling WHATWG URL has for an IPv6 address: lower case, shortest, without dots or zone. */
function hexForm(address: string): string {
  return new URL(`http://[${address.split('%', 1)[0]}]`).hostname.slice(1, -1);
}

function twoBytes(group: string): number[] {
  const value = Number.parseInt(group, 16);
  return [value >> 8, value & 0xff];
}

/**
 * The client's address: the socket's, or, behind trusted proxies, the last entry of X-Forwarded-For that is not
 * one of them. Entries further left are the client's own words.
 */
export function clientAddress(peer: string, forwardedFor: string | undefined, isTrusted: IsTrusted): string {
  if (forwardedFor === undefined || !isTrusted(peer)) return peer;
  const entries = forwardedFor.split(',').map((entry) => plainAddress(entry.trim()));
  for (const entry of entries.reverse()) {
    if (isIP(entry) === 0) return peer;
    if (!isTrusted(entry)) return entry;
    peer = entry;
  }
  return peer;
}

/** What a rate limit counts by: an IPv4 address, or the /64 network that one IPv6 customer has to itself. */
export function addressGroup(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = hexForm(address).split('::');
  const groups = head === '' ? [] : head.split(':');
  const behind = tail === undefined || tail === '' ? [] : tail.split(':');
  const all =
    tail === undefined
      ? groups
      : [...groups, ...Array(8 - groups.length - behind.length).fill('0'), ...behind];
  return `${all.slice(0, 4).join(':')}::/64`;
}
