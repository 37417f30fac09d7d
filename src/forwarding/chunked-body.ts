// Takes a body out of its chunks (RFC 9112 section 7.1), as they come. What a chunk says beside its size, and the
// trailers behind the last one, are dropped.
import { errors } from 'undici';

const CR = 0x0d;
const LF = 0x0a;
const SIZE_LINE = /^([0-9A-Fa-f]{1,13})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;
const LONGEST_LINE = 16 * 1024;
const LONGEST_TRAILERS = 64 * 1024;

export class ChunkedBody {
  /** The last chunk and its trailers are read: what follows is no part of the body. */
  isOver = false;
  /** Of the chunk that is being read. */
  #left = 0;
  #state: 'size' | 'data' | 'data-end' | 'trailers' = 'size';
  /** A line, as far as it has come. */
  #line = '';
  #trailerBytes = 0;

  /**
   * Reads on until some data is found, nothing is left, or the body is over.
   *
   * @returns how many bytes were read; of these the last `data.length` are data, null when there is none
   * @throws {errors.HTTPParserError} for what is not made of chunks
   */
  read(bytes: Buffer): { readonly read: number; readonly data: Buffer | null } {
    let at = 0;
    while (at < bytes.length && !this.isOver) {
      if (this.#state === 'data') {
        const end = Math.min(bytes.length, at + this.#left);
        this.#left -= end - at;
        if (this.#left === 0) this.#state = 'data-end';
        return { read: end, data: bytes.subarray(at, end) };
      }
      at = this.#readLine(bytes, at);
    }
    return { read: at, data: null };
  }

  /** @returns where the line ends */
  #readLine(bytes: Buffer, from: number): number {
    const lineFeed = bytes.indexOf(LF, from);
    const end = lineFeed === -1 ? bytes.length : lineFeed + 1;
    this.#line += bytes.toString('latin1', from, end);
    if (this.#line.length > LONGEST_LINE) throw fault();
    if (lineFeed === -1) return end;
    if (this.#line.charCodeAt(this.#line.length - 2) !== CR) throw fault();
    const line = this.#line.slice(0, -2);
    this.#line = '';
    this.#take(line);
    return end;
  }

  #take(line: string): void {
    if (this.#state === 'trailers') {
      this.#trailerBytes += line.length + 2;
      if (this.#trailerBytes > LONGEST_TRAILERS) throw fault();
      this.isOver = line === '';
    } else if (this.#state === 'data-end') {
      if (line !== '') throw fault();
      this.#state = 'size';
    } else {
      const size = SIZE_LINE.exec(line)?.[1];
      if (size === undefined) throw fault();
      this.#left = Number.parseInt(size, 16);
      this.#state = this.#left === 0 ? 'trailers' : 'data';
    }
  }
}

function fault(): Error {
  return new errors.HTTPParserError('Its body is not made of chunks');
}
