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
const FIELD = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)\r\n/y;
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
  const keepsAlive =
    body !== 'until-close' &&
    !isBodyFeared(status, method, coding !== null || Number(length) > 0) &&
    staysOpen(minor, connection);
  return {
    status,
    rawHeaders,
    body,
    keepsAlive,
    keepAliveMs: keepAlive === null ? null : timeoutOf(keepAlive),
  };
}

/** Of a head whose end has not come: nobody need wait for the end of what is no head. @throws as readHead */
export function checkBeginning(text: string): void {
  if (!text.startsWith(BEGINNING.slice(0, text.length))) throw fault('Its first line is none of HTTP/1.1');
  if (BARE_LINE_FEED.test(text)) throw fault('A line of its head is no field');
}

const BEGINNING = 'HTTP/1.';
const BARE_LINE_FEED = /(?<!\r)\n/;

function isBodiless(status: number, method: string): boolean {
  return method === 'HEAD' || status === 304 || status === 204 || status < 200;
}

/** A server that sends a body where there must be none would put it before the answer to the next request. */
function isBodyFeared(status: number, method: string, isAnnounced: boolean): boolean {
  return method === 'HEAD' || (isAnnounced && (status === 204 || status === 304));
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

/** By hand: a pattern would try many blanks again and again, and trim() would take 0xA0 for one. */
function withoutBlanks(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isBlank(value.charCodeAt(start))) start++;
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--;
  return value.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function fault(text: string): Error {
  return new errors.HTTPParserError(text);
}
