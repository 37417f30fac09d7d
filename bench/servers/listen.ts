// Every server of the bench is a process of its own; it tells its address on stdout and ends with its stdin.
import type { AddressInfo, Server } from 'node:net';

export function listenAndTell(server: Server): void {
  server.listen(0, '127.0.0.1', 1024, () => {
    process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
  });
  endWithStdin();
}

export function endWithStdin(): void {
  process.stdin.on('end', () => process.exit(0)).resume();
}

/** The upstream that every contender forwards to. */
export function upstreamUrl(): string {
  const url = process.argv[2];
  if (!url) throw new Error('The address of the upstream is the first argument');
  return url;
}
