// An open WebSocket: the bytes of both sides, passed on as they come. Frames are counted, so that the gateway can say
// goodbye between two of them.
import type { Duplex } from 'node:stream';
import { closeFrame, FrameCounter } from './frames.ts';

export interface TunnelOptions {
  readonly client: Duplex;
  readonly upstream: Duplex;
  /** Longest silence on both sides, in ms. */
  readonly idleMs: number;
}

export interface Tunnel {
  /** Says goodbye to both sides; who does not go is cut off after a moment. */
  end(code: number, reason: string): void;
  /** Resolves when both sides are gone. */
  readonly closed: Promise<void>;
}

/** How long a frame under way is waited for, and how long a side may take to go. */
const GOODBYE_MS = 1000;
const GOING_AWAY = 1001;

export function openTunnel({ client, upstream, idleMs }: TunnelOptions): Tunnel {
  const down = new Flow(upstream, client);
  const up = new Flow(client, upstream);
  const silence = setTimeout(() => end(GOING_AWAY, 'idle'), idleMs);
  silence.unref();
  let ending: NodeJS.Timeout | null = null;

  const cut = () => {
    client.destroy();
    upstream.destroy();
  };
  const end = (code: number, reason: string) => {
    if (ending) return;
    ending = setTimeout(cut, GOODBYE_MS);
    down.endWith(closeFrame(code, reason));
    up.endWith(closeFrame(GOING_AWAY, '', true));
  };
  const closed = Promise.all([gone(client), gone(upstream)]).then(() => {
    clearTimeout(silence);
    clearTimeout(ending ?? undefined);
  });
  for (const [side, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    side.on('data', () => silence.refresh());
    side.on('drain', () => silence.refresh());
    side.on('error', () => other.destroy());
    side.on('close', () => {
      // What it still had to say is passed on before the other side is let go.
      if (side.readableEnded) letGo(other);
      else other.destroy();
    });
  }
  down.start();
  up.start();
  return { end, closed };
}

function gone(side: Duplex): Promise<void> {
  return new Promise((resolve) => (side.closed ? resolve() : side.once('close', resolve)));
}

/** Its end is on the way: once that is sent it has a moment to go by itself. */
function letGo(side: Duplex): void {
  const cutLater = () => {
    const timer = setTimeout(() => side.destroy(), GOODBYE_MS);
    side.once('close', () => clearTimeout(timer));
  };
  if (side.closed) return;
  if (side.writableFinished) cutLater();
  else side.once('finish', cutLater);
}

/** One direction, with back-pressure. */
class Flow {
  readonly #from: Duplex;
  readonly #to: Duplex;
  readonly #frames = new FrameCounter();
  #goodbye: Buffer | null = null;

  constructor(from: Duplex, to: Duplex) {
    this.#from = from;
    this.#to = to;
  }

  start(): void {
    this.#from.on('data', this.#pass);
    this.#from.on('end', this.#onEnd);
    this.#to.on('drain', this.#onDrain);
    this.#from.resume();
  }

  /** Ends behind the frame that is under way. */
  endWith(goodbye: Buffer): void {
    this.#goodbye = goodbye;
    if (this.#frames.isBetween) this.#finish(goodbye);
  }

  #pass = (chunk: Buffer): void => {
    const rest = this.#frames.push(chunk);
    if (this.#goodbye !== null && rest !== -1) {
      this.#to.write(chunk.subarray(0, rest));
      this.#finish(this.#goodbye);
      // Nobody is kept waiting by a side that is gone.
    } else if (!this.#to.write(chunk) && !this.#to.destroyed) this.#from.pause();
  };

  #finish(goodbye: Buffer): void {
    this.#from.off('data', this.#pass);
    this.#from.off('end', this.#onEnd);
    this.#to.off('drain', this.#onDrain);
    // What comes after the goodbye is read and dropped, or its sender would never see that the end has come.
    this.#from.resume();
    if (!this.#to.writableEnded) this.#to.end(goodbye);
  }

  #onEnd = (): void => {
    this.#to.end();
  };

  #onDrain = (): void => {
    this.#from.resume();
  };
}
