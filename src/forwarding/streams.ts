// Which answers stay open, and how they are told that it is over.

/** Why a stream ends, as the client is told. */
export interface Goodbye {
  /** Close code of a WebSocket (RFC 6455 section 7.4). */
  readonly code: number;
  /** One word of the error table, or of ours. */
  readonly reason: string;
}

/** `long`: an answer of unknown or great length that is no stream of events. */
export type StreamKind = 'event-stream' | 'long' | 'websocket';

/**
 * Told of each that begins; `end` may be called at any time, once. Returns a function to be called when it is over.
 * Throws a GatewayError when there may be no further one.
 */
export type OnStream = (kind: StreamKind, end: (goodbye: Goodbye) => void) => () => void;

const LONG_BYTES = 1024 * 1024;

/** @returns null for an answer that will soon be over */
export function streamKind(rawHeaders: readonly string[]): 'event-stream' | 'long' | null {
  if (EVENT_STREAM.test(headerOf(rawHeaders, 'content-type') ?? '')) return 'event-stream';
  const length = headerOf(rawHeaders, 'content-length');
  return length !== null && Number(length) <= LONG_BYTES ? null : 'long';
}

const EVENT_STREAM = /^\s*text\/event-stream\s*(?:;|$)/i;

/** @param rawHeaders names and values in turn */
export function headerOf(rawHeaders: readonly string[], lowerName: string): string | null {
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (name.length === lowerName.length && name.toLowerCase() === lowerName)
      return (rawHeaders[at + 1] as string).trim();
  }
  return null;
}

/** The last event of a stream whose route allows it. */
export function finalEvent({ reason }: Goodbye): string {
  return `event: gateway\ndata: ${JSON.stringify({ code: reason })}\n\n`;
}

/** Follows a stream of events: may another stand behind what was sent? */
export class EventBoundary {
  #tail = '\n\n';
  readonly #isReadable: boolean;

  constructor(rawHeaders: readonly string[]) {
    this.#isReadable = headerOf(rawHeaders, 'content-encoding') === null;
  }

  push(chunk: Buffer): void {
    this.#tail = (this.#tail + chunk.subarray(-4).toString('latin1')).slice(-4);
  }

  get isBetween(): boolean {
    return this.#isReadable && /(?:\n\n|\r\r|\r\n\r\n)$/.test(this.#tail);
  }
}
