// HMAC (RFC 2104) of two one-shot hashes. node:crypto's own makes an object for each signature, which costs as much as the
// hashing, and again when it is collected; a signature is checked for every cookie that is not in memory, whoever sent it.
import { type BinaryToTextEncoding, hash } from 'node:crypto';

/** Of bytes, or of a text in UTF-8. */
export type Hmac = (message: string | Uint8Array, encoding: BinaryToTextEncoding) => string;

/** Bytes a hash works on at a time, and bytes it gives. */
const SIZES = { sha256: { block: 64, digest: 32 }, sha512: { block: 128, digest: 64 } };
/** Bytes of a message whose place is kept ready; for longer ones it is made. */
const KEPT = 4096;

export function hmac(algorithm: keyof typeof SIZES, key: string | Uint8Array): Hmac {
  const { block, digest } = SIZES[algorithm];
  /** The key, each byte changed by `pad`, and behind it room for so many bytes. */
  const padded = (pad: number, room: number) => {
    const bytes = typeof key === 'string' ? Buffer.from(key) : key;
    const place = Buffer.alloc(block + room);
    place.set(bytes.length > block ? hash(algorithm, bytes, 'buffer') : bytes);
    for (let at = 0; at < block; at++) place[at] = (place[at] as number) ^ pad;
    return place;
  };
  const inner = padded(0x36, KEPT);
  const outer = padded(0x5c, digest);
  return (message, encoding) => {
    // A character of UTF-16 is at most three bytes of UTF-8.
    const most = typeof message === 'string' ? message.length * 3 : message.length;
    const place = most <= KEPT ? inner : padded(0x36, most);
    const end = block + write(place, message, block);
    outer.write(hash(algorithm, place.subarray(0, end), 'binary'), block, 'latin1');
    return hash(algorithm, outer, encoding);
  };
}

function write(place: Buffer, message: string | Uint8Array, at: number): number {
  if (typeof message === 'string') return place.write(message, at);
  place.set(message, at);
  return message.length;
}
