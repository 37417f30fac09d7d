import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './servers/port.ts';

export type FaultProxy = {
  host: string;
  port: number;
  /** The same URL with this proxy's host and port. */
  url(original: string): string;
  /** Every answer arrives so much later; order and throughput stay. */
  delay(ms: number): void;
  /** Connections stay open and new ones are accepted, but no byte passes; what was held back passes after `heal`. */
  blackhole(): void;
  /** Like a host whose process has died: open connections are reset, new ones refused. */
  refuse(): Promise<void>;
  /** Open connections are reset, and so is each new one as soon as it is accepted. */
  reset(): void;
  /** Ends every fault. Connections that were reset stay so. */
  heal(): Promise<void>;
  /** Connections that clients have open now. */
  readonly connections: number;
  close(): Promise<void>;
};

type Target = { host: string; port: number };

type Faults = { latencyMs: number; resetting: boolean; hole: Hole | undefined };

/** `filled` settles when what fell in may go on. */
type Hole = { filled: Promise<void>; fill(): void };

/** How much of one direction may be under way before its sender has to wait. */
const heldLimit = 1024 * 1024;

/** A TCP proxy in front of one address that makes it slow, silent or broken when told to. */
export async function startFaultProxy(target: Target): Promise<FaultProxy> {
  const faults: Faults = { latencyMs: 0, resetting: false, hole: undefined };
  const { listener, clients } = listenFor(target, faults);
  const host = '127.0.0.1';
  const port = await freePort();
  const listen = () => once(listener.listen(port, host), 'listening');
  const resetAll = () => {
    for (const client of clients) client.resetAndDestroy();
  };
  const unlisten = async () => {
    if (!listener.listening) return;
    const closed = once(listener, 'close');
    listener.close();
    resetAll();
    await closed;
  };
  await listen();
  return {
    host,
    port,
    url: (original) => Object.assign(new URL(original), { host: `${host}:${port}` }).href,
    delay(ms) {
      faults.latencyMs = ms;
    },
    blackhole() {
      faults.hole ??= dig();
    },
    refuse: unlisten,
    reset() {
      faults.resetting = true;
      resetAll();
    },
    async heal() {
      faults.hole?.fill();
      Object.assign(faults, { latencyMs: 0, resetting: false, hole: undefined });
      if (!listener.listening) await listen();
    },
    get connections() {
      return clients.size;
    },
    close: unlisten,
  };
}

function dig(): Hole {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { filled: promise, fill: resolve };
}

function listenFor(target: Target, faults: Faults) {
  const clients = new Set<Socket>();
  const listener = createServer({ allowHalfOpen: true }, (client) => {
    clients.add(client);
    client.on('close', () => clients.delete(client));
    client.on('error', () => {});
    if (faults.resetting) client.resetAndDestroy();
    else join(client, target, faults);
  });
  return { listener, clients };
}

async function join(client: Socket, target: Target, faults: Faults): Promise<void> {
  await faults.hole?.filled;
  if (client.destroyed) return;
  const upstream = connect({ ...target, allowHalfOpen: true });
  upstream.on('error', () => client.resetAndDestroy());
  client.on('close', () => {
    // One that ended in order is passed on in order, behind the bytes still under way.
    if (!client.readableEnded) upstream.resetAndDestroy();
  });
  carry(client, upstream, faults, () => 0);
  carry(upstream, client, faults, () => faults.latencyMs);
}

/** Passes bytes on in order, each chunk when its own latency is over and no fault holds it back. */
function carry(from: Socket, to: Socket, faults: Faults, latency: () => number): void {
  let held = 0;
  let line = Promise.resolve();
  const queue = (pass: () => Promise<unknown>) => {
    const due = Date.now() + latency();
    line = line.then(async () => {
      if (due > Date.now()) await sleep(due - Date.now());
      await faults.hole?.filled;
      if (!to.destroyed) await pass();
    });
  };
  from.on('data', (chunk) => {
    held += chunk.length;
    if (held > heldLimit) from.pause();
    queue(async () => {
      // `once` also fails when the socket does: then nothing more is to be waited for.
      if (!to.write(chunk)) await Promise.race([once(to, 'drain'), once(to, 'close')]).catch(() => {});
      held -= chunk.length;
      if (held <= heldLimit) from.resume();
    });
  });
  from.on('end', () => queue(async () => to.end()));
}
