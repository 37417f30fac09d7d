// What an HTTP/1.1 server answers (RFC 9112), read from the text of the head: whatever could be read in two ways is
// refused. Pure.
import { errors } from 'undici';

export interface AnswerHead {
  readonly status: number;
  /** Names and values in turn, one character a byte. */
  readonly rawHeaders: string[];
  readonly body: BodyFraming;
  /** May the connection carry another request? */
  readonly keepsAlive: boolean;
  /** How long the server keeps an idle connection, in ms; null when it does not say. */
  readonly keepAliveMs: number | null;
}

/** How the end of the body is told: in so many bytes, in chunks, or with the connection. */
export type BodyFraming = number | 'chunked' | 'until-close';

const STATUS_LINE = /HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?\r\n/y;
/** One line: no folding, no blank before the colon, no control character. */
const FIELD = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)\r\n/y;
const ENDS_IN_BLANKS = /[\t ]+$/;
const LENGTH = /^\d{1,15}$/;
/** No other header that bears on the framing has one of these lengths; they save folding every name of every answer. */
const CONNECTION = 'connection';
const KEEP_ALIVE = 'keep-alive';
const CONTENT_LENGTH = 'content-length';
const TRANSFER_ENCODING = 'transfer-encoding';

/**
 * @param text the head with the line end of its last field, without the empty line
 * @param method of the request
 * @throws {errors.HTTPParserError} for what is no head, and for one with two meanings
 */
export function readHead(text: string, method: string): AnswerHead {
  STATUS_LINE.lastIndex = 0;
  const line = STATUS_LINE.exec(text);
  if (line === null) throw fault('Its first line is none of HTTP/1.1');
  const minor = line[1] as string;
  const status = Number(line[2]);
  const rawHeaders: string[] = [];
  let length: string | null = null;
  let coding: string | null = null;
  let connection = '';
  let keepAlive: string | null = null;
  FIELD.lastIndex = STATUS_LINE.lastIndex;
  while (FIELD.lastIndex < text.length) {
    const field = FIELD.exec(text);
    if (field === null) throw fault('A line of its head is no field');
    const name = field[1] as string;
    const value = withoutBlanks(field[2] as string);
    rawHeaders.push(name, value);
    switch (name.length) {
      case 10: {
        const lower = name.toLowerCase();
        if (lower === CONNECTION) connection += `,${value.toLowerCase()}`;
        else if (lower === KEEP_ALIVE) keepAlive = value;
        break;
      }
      case 14:
        if (name.toLowerCase() !== CONTENT_LENGTH) break;
        if (length !== null || !LENGTH.test(value)) throw fault('Its length has two meanings, or none');
        length = value;
        break;
      case 17:
        if (name.toLowerCase() !== TRANSFER_ENCODING) break;
        if (coding !== null || value.toLowerCase() !== 'chunked')
          throw fault('Its transfer coding is not known');
        coding = value;
        break;
    }
  }
  // Section 6.1: whoever forwards both may be smuggling.
  if (coding !== null && (length !== null || minor === '0')) throw fault('Its framing has two meanings');
  const body = isBodiless(status, method)
    ? 0
    : coding !== null
      ? 'chunked'
      : length !== null
        ? Number(length)
        : 'until-close';
  const keepsAlive = body !== 'until-close' && staysOpen(minor, connection);
  return {
    status,
    rawHeaders,
    body,
    keepsAlive,
    keepAliveMs: keepAlive === null ? null : timeoutOf(keepAlive),
  };
}

function isBodiless(status: number, method: string): boolean {
  return method === 'HEAD' || status === 304 || status === 204 || status < 200;
}

function staysOpen(minor: string, connection: string): boolean {
  if (connection === '') return minor === '1';
  const options = connection.split(',').map((option) => option.trim());
  return !options.includes('close') && (minor === '1' || options.includes('keep-alive'));
}

function timeoutOf(keepAlive: string): number | null {
  const seconds = /(?:^|[\s,;])timeout\s*=\s*(\d{1,9})/i.exec(keepAlive)?.[1];
  return seconds === undefined ? null : Number(seconds) * 1000;
}

/** Those before a value are no part of the pattern's group. */
function withoutBlanks(value: string): string {
  const last = value.charCodeAt(value.length - 1);
  return last === 0x20 || last === 0x09 ? value.replace(ENDS_IN_BLANKS, '') : value;
}

function fault(text: string): Error {
  return new errors.HTTPParserError(text);
}
