// The two things an echoing WebSocket server must know: the handshake, and frames up to 64 KB.
import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export function handshakeAnswer(head: string): string {
  const [, key = ''] = /\r\nsec-websocket-key: *(\S+)/i.exec(head) ?? [];
  const accept = createHash('sha1')
    .update(key + GUID)
    .digest('base64');
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
}

/** Sends every frame back as it came, but unmasked: RFC 6455, section 5.1. */
export function echoFrames(socket: Socket): (chunk: Buffer) => void {
  let unread = Buffer.alloc(0);
  return (chunk) => {
    unread = unread.length === 0 ? Buffer.from(chunk) : Buffer.concat([unread, chunk]);
    for (let frame = firstFrame(unread); frame !== null; frame = firstFrame(unread)) {
      unread = unread.subarray(frame.size);
      socket.write(frame.echo);
    }
  };
}

function firstFrame(bytes: Buffer): { size: number; echo: Buffer } | null {
  if (bytes.length < 6) return null;
  const short = (bytes[1] ?? 0) & 0x7f;
  const isExtended = short === 126;
  if (isExtended && bytes.length < 8) return null;
  const length = isExtended ? bytes.readUInt16BE(2) : short;
  const maskAt = isExtended ? 4 : 2;
  const size = maskAt + 4 + length;
  if (bytes.length < size) return null;
  const echo = Buffer.concat([bytes.subarray(0, maskAt), bytes.subarray(maskAt + 4, size)]);
  echo[1] = short;
  for (let at = 0; at < length; at++)
    echo[maskAt + at] = (echo[maskAt + at] ?? 0) ^ (bytes[maskAt + (at & 3)] ?? 0);
  return { size, echo };
}
