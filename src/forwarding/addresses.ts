// Names of targets are looked up again and again: connections to addresses that a name no longer has are not used.
// New connections need no help, they look the name up when they are opened.
import { lookup as lookUpName } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Target } from './target.ts';

/** Every address of a name. */
export type LookUpAddresses = (hostname: string) => Promise<readonly string[]>;

export interface AddressWatch {
  readonly lookUp?: LookUpAddresses;
  readonly everyMs?: number;
}

/** @returns a function that ends it */
export function watchAddresses(
  targets: readonly Target[],
  { lookUp = askSystem, everyMs = 5000 }: AddressWatch = {},
): () => void {
  const named = targets.flatMap((target) => {
    if (target.name !== target.origin) return [];
    const { hostname } = new URL(target.origin);
    return isIP(hostname) === 0 && !hostname.startsWith('[') ? [{ target, hostname }] : [];
  });
  if (named.length === 0) return () => {};
  const look = async ({ target, hostname }: (typeof named)[number]) => {
    // A name that cannot be looked up says nothing about the connections there are.
    const addresses = await lookUp(hostname).catch(() => null);
    if (addresses === null || addresses.length === 0) return;
    target.connections.retire(({ address }) => !addresses.includes(address as string));
  };
  const timer = setInterval(() => named.forEach((each) => void look(each)), everyMs).unref();
  return () => clearInterval(timer);
}

async function askSystem(hostname: string): Promise<string[]> {
  return (await lookUpName(hostname, { all: true })).map(({ address }) => address);
}
