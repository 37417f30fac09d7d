import { describe, expect, test } from 'vitest';
import { readHead } from '../../src/forwarding/answer-head.ts';

const head = (...lines: string[]) => lines.map((line) => `${line}\r\n`).join('');
const read = (lines: readonly string[], method = 'GET') => readHead(head(...lines), method);
const OK = 'HTTP/1.1 200 OK';

test('names and values come as they were written, in order, repetitions included', () => {
  const { status, rawHeaders } = read([OK, 'B: 2', 'a:1', 'B:\t 3 \t', 'Empty:', 'X: caf\u00e9']);
  expect(status).toBe(200);
  expect(rawHeaders).toEqual(['B', '2', 'a', '1', 'B', '3', 'Empty', '', 'X', 'caf\u00e9']);
});

describe('where the body ends', () => {
  test.each([
    [['Content-Length: 12'], 'GET', 12],
    [['content-length: 0'], 'GET', 0],
    [['Content-Length: 12'], 'HEAD', 0],
    [['Transfer-Encoding: Chunked'], 'GET', 'chunked'],
    [['Transfer-Encoding: chunked'], 'HEAD', 0],
    [[], 'GET', 'until-close'],
    [[], 'HEAD', 0],
  ] as const)('%j to %s: %s', (fields, method, body) => {
    expect(read([OK, ...fields], method).body).toBe(body);
  });

  test.each([204, 304])('%i has none, whatever it says', (status) => {
    expect(read([`HTTP/1.1 ${status} X`, 'Content-Length: 5']).body).toBe(0);
    expect(read([`HTTP/1.1 ${status} X`]).body).toBe(0);
  });
});

describe('whether the connection goes on', () => {
  test.each([
    ['HTTP/1.1', [], true],
    ['HTTP/1.1', ['Connection: close'], false],
    ['HTTP/1.1', ['Connection: X, CLOSE'], false],
    ['HTTP/1.1', ['Connection: x', 'Connection: close'], false],
    ['HTTP/1.1', ['Connection: keep-alive'], true],
    ['HTTP/1.0', [], false],
    ['HTTP/1.0', ['Connection: Keep-Alive'], true],
    ['HTTP/1.0', ['Connection: keep-alive, close'], false],
  ] as const)('%s %j: %s', (version, fields, keepsAlive) => {
    expect(read([`${version} 200 OK`, 'Content-Length: 0', ...fields]).keepsAlive).toBe(keepsAlive);
  });

  test.each([
    ['HEAD', 200, [], false],
    ['GET', 204, [], true],
    ['GET', 204, ['Content-Length: 0'], true],
    ['GET', 204, ['Content-Length: 1'], false],
    ['GET', 304, ['Content-Length: 1'], false],
    ['GET', 304, ['Transfer-Encoding: chunked'], false],
  ] as const)(
    'not when a body may come where there must be none: %s, %i %j',
    (method, status, fields, goesOn) => {
      expect(read([`HTTP/1.1 ${status} X`, ...fields], method).keepsAlive).toBe(goesOn);
    },
  );

  test('not when only its end tells the end of the body', () => {
    expect(read([OK, 'Connection: keep-alive']).keepsAlive).toBe(false);
  });

  test.each([
    ['timeout=5', 5000],
    ['max=100, Timeout=7', 7000],
    ['timeout = 3;max=1', 3000],
    ['timeout=soon', null],
    ['mytimeout=5', null],
    ['', null],
  ])('Keep-Alive: %s', (value, keepAliveMs) => {
    expect(read([OK, `Keep-Alive: ${value}`]).keepAliveMs).toBe(keepAliveMs);
  });
});

test.each([
  ['', 'Content-Length: 0'],
  ['HTTP/1.1 200 OK', ' folded: 1'],
  ['HTTP/1.1 200 OK', 'X: 1', '\tfolded'],
  ['HTTP/1.1 200 OK', 'Name : blank before the colon'],
  ['HTTP/1.1 200 OK', 'no colon'],
  ['HTTP/1.1 200 OK', ': no name'],
  ['HTTP/1.1 200 OK', 'X: a\0b'],
  ['HTTP/1.1 200 OK', 'X: a\nY: b'],
  ['HTTP/1.1 200 OK', 'X: a\rY: b'],
  ['HTTP/1.1 200 OK', 'X: del\x7f'],
  ['HTTP/1.1 200 OK', 'X\u00e9: 1'],
  ['HTTP/1.1 200 OK', '(X): 1'],
  ['HTTP/1.1 200 OK', 'Content-Length: 5', 'Content-Length: 5'],
  ['HTTP/1.1 200 OK', 'Content-Length: 5, 5'],
  ['HTTP/1.1 200 OK', 'Content-Length: +5'],
  ['HTTP/1.1 200 OK', 'Content-Length: -5'],
  ['HTTP/1.1 200 OK', 'Content-Length: 0x5'],
  ['HTTP/1.1 200 OK', 'Content-Length: 5 5'],
  ['HTTP/1.1 200 OK', 'Content-Length:'],
  ['HTTP/1.1 200 OK', 'Content-Length: 9999999999999999'],
  ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Content-Length: 5'],
  ['HTTP/1.1 200 OK', 'Content-Length: 5', 'Transfer-Encoding: chunked'],
  ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
  ['HTTP/1.1 200 OK', 'Transfer-Encoding: gzip, chunked'],
  ['HTTP/1.1 200 OK', 'Transfer-Encoding: identity'],
  ['HTTP/1.1 200 OK', 'Transfer-Encoding: xchunked'],
  ['HTTP/1.1 200 OK', 'Transfer-Encoding:'],
  ['HTTP/1.0 200 OK', 'Transfer-Encoding: chunked'],
  ['HTTP/2 200 OK'],
  ['HTTP/1.2 200 OK'],
  ['http/1.1 200 OK'],
  ['HTTP/1.1  200 OK'],
  ['HTTP/1.1 20 OK'],
  ['HTTP/1.1 2000 OK'],
  ['HTTP/1.1 099 OK'],
  ['HTTP/1.1 200OK'],
  ['HTTP/1.1 200 O\0K'],
  [' HTTP/1.1 200 OK'],
  ['GET / HTTP/1.1'],
])('what has two meanings, or none, is refused: %j', (...lines) => {
  expect(() => read(lines)).toThrow();
});

test('many blanks are read once', () => {
  const blanks = ' \t'.repeat(30_000);
  expect(read([OK, `X:${blanks}a${blanks}b${blanks}`]).rawHeaders[1]).toBe(`a${blanks}b`);
  expect(() => read([OK, `X:${blanks}\0`])).toThrow();
});

test('blanks are those of HTTP: 0xA0 is part of a value', () => {
  expect(read([OK, 'X: \u00a0a\u00a0 ']).rawHeaders[1]).toBe('\u00a0a\u00a0');
});

test('a first line needs no reason, nor a blank before it', () => {
  expect(read(['HTTP/1.1 204']).status).toBe(204);
  expect(read(['HTTP/1.1 299 ']).status).toBe(299);
  expect(read(['HTTP/1.0 404 Not found: caf\u00e9']).status).toBe(404);
});
