// The upstream of the bench is written for it, on bare sockets: what it answers must be right, or nothing measured is.
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type BenchProcess, startScript } from '../../bench/processes.ts';

let upstream: BenchProcess & { readonly url: string };

beforeAll(async () => {
  upstream = await startScript('servers/upstream.ts', [], { role: 'upstream' });
});

afterAll(() => upstream.close());

test.each([
  { path: '/api/x', bytes: 1024 },
  { path: '/download', bytes: 10_000_000 },
])('$path is answered with $bytes bytes', async ({ path, bytes }) => {
  const answer = await fetch(upstream.url + path);
  expect([answer.status, (await answer.arrayBuffer()).byteLength]).toEqual([200, bytes]);
});

test.each([0, 1, 10_240, 3_000_000])(
  'a body of %d bytes is read to its end before it is answered',
  async (bytes) => {
    for (let time = 0; time < 3; time++) {
      const answer = await fetch(`${upstream.url}/api/x`, { method: 'POST', body: Buffer.alloc(bytes, 'x') });
      expect([answer.status, (await answer.text()).length]).toEqual([200, 1024]);
    }
  },
);

test('an event stream begins, and stays open', async () => {
  const leaving = new AbortController();
  const answer = await fetch(`${upstream.url}/events`, { signal: leaving.signal });
  expect(answer.headers.get('content-type')).toBe('text/event-stream');
  const reader = answer.body?.getReader();
  expect(new TextDecoder().decode((await reader?.read())?.value)).toBe(': open\n');
  const next = reader?.read().then(
    () => 'more',
    () => 'left',
  );
  leaving.abort();
  expect(await next).toBe('left');
});

test.each([0, 1, 64, 125, 126, 20_000])('a WebSocket gets %d bytes back as they were', async (bytes) => {
  const socket = new WebSocket(`${upstream.url.replace('http', 'ws')}/socket`, { perMessageDeflate: false });
  await once(socket, 'open');
  const message = Buffer.from(Array.from({ length: bytes }, (_, at) => at % 251));
  for (let time = 0; time < 3; time++) {
    socket.send(message);
    const [echo] = (await once(socket, 'message')) as [Buffer];
    expect(echo.equals(message)).toBe(true);
  }
  socket.terminate();
});
