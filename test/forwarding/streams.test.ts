import { describe, expect, test } from 'vitest';
import { EventBoundary, finalEvent, headerOf, streamKind } from '../../src/forwarding/streams.ts';

test.each([
  [['Content-Type', 'text/event-stream'], 'event-stream'],
  [['content-type', 'Text/Event-Stream; charset=utf-8', 'Content-Length', '5'], 'event-stream'],
  [['Content-Type', 'text/event-streams'], 'long'],
  [['Content-Type', 'application/json'], 'long'],
  [['Content-Type', 'application/json', 'Content-Length', '1048577'], 'long'],
  [['Content-Type', 'application/json', 'CONTENT-LENGTH', '1048576'], null],
  [['Content-Length', '0'], null],
  [[], 'long'],
] as const)('an answer with %j is of the kind %s', (lines, kind) => {
  expect(streamKind(lines)).toBe(kind);
});

test('a header is found whatever its case, and its value trimmed', () => {
  expect(headerOf(['A', 'b', 'X-Thing', ' value '], 'x-thing')).toBe('value');
  expect(headerOf(['X-Things', 'value'], 'x-thing')).toBeNull();
});

describe('EventBoundary', () => {
  const isBetweenBehind = (chunks: string[], ...headers: string[]) => {
    const boundary = new EventBoundary(headers);
    for (const chunk of chunks) boundary.push(Buffer.from(chunk));
    return boundary.isBetween;
  };
  test.each<[chunks: string[], isBetween: boolean]>([
    [[], true],
    [['data: x\n\n'], true],
    [['data: x\r\n\r\n'], true],
    [['data: x\r\r'], true],
    [['data: x\n', '\n'], true],
    [['data: x\r\n\r', '\n'], true],
    [['data: x\n\n', ': comment\n\n'], true],
    [['data: x'], false],
    [['data: x\n'], false],
    [['data: x\r\n'], false],
    [['data: x\n\n', 'd'], false],
    [['data: x\n\n', ''], true],
  ])('behind %j: %s', (chunks, isBetween) => {
    expect(isBetweenBehind(chunks)).toBe(isBetween);
  });

  test('cannot tell in a compressed stream', () => {
    expect(isBetweenBehind(['data: x\n\n'], 'Content-Encoding', 'gzip')).toBe(false);
  });
});

test('the final event is one event, whatever the reason', () => {
  expect(finalEvent({ code: 4403, reason: 'user-banned' })).toBe(
    'event: gateway\ndata: {"code":"user-banned"}\n\n',
  );
});
