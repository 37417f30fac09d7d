// HMAC (RFC 2104) of two one-shot hashes. node:crypto's own makes an object for each signature, which costs as much as the
// hashing, and again when it is collected; a signature is checked for every cookie that is not in memory, whoever sent it.
import { hash } from 'node:crypto';

/** Of a text, in UTF-8. */
export type Sign = (text: string) => string;

/** Bytes the hash works on at a time, and bytes it gives. */
const BLOCK = 64;
const DIGEST = 32;
/** Bytes of a text whose place is kept ready; for longer ones it is made. */
const KEPT = 4096;

/** HMAC-SHA256 under one key. */
export function hmacSha256(key: string | Uint8Array, encoding: 'base64' | 'base64url'): Sign {
  const inner = padded(key, 0x36, KEPT);
  const outer = padded(key, 0x5c, DIGEST);
  return (text) => {
    // A character of UTF-16 is at most three bytes of UTF-8.
    const place = text.length * 3 <= KEPT ? inner : padded(key, 0x36, text.length * 3);
    const end = BLOCK + place.write(text, BLOCK);
    outer.write(hash('sha256', place.subarray(0, end), 'binary'), BLOCK, 'latin1');
    return hash('sha256', outer, encoding);
  };
}

/** The key, each byte changed by `pad`, and behind it room for so many bytes. */
function padded(key: string | Uint8Array, pad: number, room: number): Buffer {
  const bytes = typeof key === 'string' ? Buffer.from(key) : key;
  const block = Buffer.alloc(BLOCK);
  block.set(bytes.length > BLOCK ? hash('sha256', bytes, 'buffer') : bytes);
  return Buffer.concat([block.map((byte) => byte ^ pad), Buffer.alloc(room)]);
}
