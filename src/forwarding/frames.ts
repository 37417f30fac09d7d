// WebSocket frames (RFC 6455 section 5), as far as a gateway must know them: where one ends, and how to say goodbye.
// Payloads are never looked at.
import { createHash, randomBytes } from 'node:crypto';

const LONGEST_HEADER = 14;

/** Follows a stream of frames, however it is cut into chunks. */
export class FrameCounter {
  readonly #header = Buffer.alloc(LONGEST_HEADER);
  #headerBytes = 0;
  #payloadLeft = 0;

  /** Is the stream between two frames, so that another may be put there? */
  get isBetween(): boolean {
    return this.#headerBytes === 0 && this.#payloadLeft === 0;
  }

  /** @returns how many bytes of the chunk belong to the frame that was under way; -1 when it does not end in it */
  push(chunk: Buffer): number {
    let firstEnd = this.isBetween ? 0 : -1;
    for (let at = 0; at < chunk.length; ) {
      at = this.#payloadLeft > 0 ? this.#skipPayload(chunk, at) : this.#readHeader(chunk, at);
      if (firstEnd === -1 && this.isBetween) firstEnd = at;
    }
    return firstEnd;
  }

  #skipPayload(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#payloadLeft, chunk.length - at);
    this.#payloadLeft -= taken;
    return at + taken;
  }

  #readHeader(chunk: Buffer, at: number): number {
    this.#header[this.#headerBytes++] = chunk[at] ?? 0;
    if (this.#headerBytes >= 2 && this.#headerBytes === headerLength(this.#header)) {
      this.#payloadLeft = payloadLength(this.#header);
      this.#headerBytes = 0;
    }
    return at + 1;
  }
}

const MASKED = 0x80;
const FINAL_CLOSE = 0x88;

function headerLength(header: Buffer): number {
  const second = header[1] ?? 0;
  const short = second & 0x7f;
  const extended = short === 127 ? 8 : short === 126 ? 2 : 0;
  return 2 + extended + (second & MASKED ? 4 : 0);
}

function payloadLength(header: Buffer): number {
  const short = (header[1] ?? 0) & 0x7f;
  if (short === 127) return Number(header.readBigUInt64BE(2));
  return short === 126 ? header.readUInt16BE(2) : short;
}

/**
 * A Close frame.
 *
 * @param reason at most 123 bytes of ASCII; nothing internal, because pages can read it
 * @param masked towards a server
 */
export function closeFrame(code: number, reason: string, masked = false): Buffer {
  const payload = Buffer.alloc(2 + reason.length);
  payload.writeUInt16BE(code);
  payload.write(reason, 2, 'ascii');
  if (!masked) return Buffer.concat([Buffer.from([FINAL_CLOSE, payload.length]), payload]);
  const mask = randomBytes(4);
  const hidden = payload.map((byte, at) => byte ^ (mask[at % 4] ?? 0));
  return Buffer.concat([Buffer.from([FINAL_CLOSE, MASKED | payload.length]), mask, hidden]);
}

/** What a server must answer to this Sec-WebSocket-Key. */
export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}
