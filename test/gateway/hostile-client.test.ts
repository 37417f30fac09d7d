// What a client must not be able to do to the process. Each was possible once.
import { connect, createServer } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { freePort } from '../support/servers/port.ts';

let gateway: TestGateway;
let deadPort: number;

beforeAll(async () => {
  deadPort = await freePort();
  gateway = await startTestGateway({
    stores: 'sqlite',
    config: `
upstreams:
  live: { targets: ["\${UPSTREAM}"] }
  dead: { targets: ["http://127.0.0.1:${deadPort}"] }
routes:
  - { path: /live/**, upstream: live, access: public }
  - { path: /dead/**, upstream: dead, access: public }
`,
  });
});
afterAll(() => gateway.close());

test('a client that leaves within its body, after its upstream refused it, does not end the process', async () => {
  for (let round = 0; round < 20; round++) await leaveWithinBody();
  expect((await fetch(`${gateway.url}/live/x`)).status).toBe(200);
});

/** The first request holds the answers back, so that the refusal of the second meets a client that is gone. */
async function leaveWithinBody(): Promise<void> {
  const { port } = new URL(gateway.url);
  const socket = connect(Number(port), '127.0.0.1');
  gateway.upstream.respond((_request, response) => setTimeout(() => response.end('late'), 30));
  socket.on('error', () => {});
  socket.write('GET /live/slow HTTP/1.1\r\nHost: x\r\n\r\n');
  socket.write('POST /dead/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc');
  await new Promise((resolve) => setTimeout(resolve, 20));
  socket.resetAndDestroy();
  await new Promise((resolve) => socket.once('close', resolve));
  gateway.upstream.respond(undefined);
}

test('an upstream that resets within an upload is answered 502, and the next request is its own', async () => {
  const resetting = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.resetAndDestroy());
  });
  await new Promise<void>((resolve) => resetting.listen(deadPort, '127.0.0.1', resolve));
  const answer = await fetch(`${gateway.url}/dead/upload`, { method: 'POST', body: Buffer.alloc(5_000_000) });
  expect([answer.status, await answer.json()]).toEqual([
    502,
    expect.objectContaining({ code: 'upstream-broken' }),
  ]);
  expect((await fetch(`${gateway.url}/live/x`)).status).toBe(200);
  await new Promise((resolve) => resetting.close(resolve));
});
