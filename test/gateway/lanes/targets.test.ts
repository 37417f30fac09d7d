// What belongs to a target rather than to a request, over Unix sockets and HTTP/2: checks, reports, WebSockets.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { startTestGateway } from '../../support/gateway.ts';
import { send } from '../../support/send.ts';
import { TRANSPORTS } from '../../support/transports.ts';
import { type Lanes, startLanes } from './lanes.ts';

const PATIENT = { timeout: 15_000 };
let lanes: Lanes;
beforeAll(async () => {
  lanes = await startLanes(', health: { path: /healthz, interval: 100ms, healthy: 1, unhealthy: 1 }');
});
afterEach(() => lanes.quiet());
afterAll(() => lanes?.close());

interface Reports {
  readonly upstreams: {
    name: string;
    targets: { target: string; state: string; openConnections: number }[];
  }[];
}

test.each(TRANSPORTS)('%s: checks take a target out of turn, and bring it back', async (name) => {
  const lane = lanes.of(name);
  lane.respond((request, response) => {
    response.writeHead(request.url === '/healthz' ? 500 : 200).end('served');
  });
  await expect.poll(async () => (await send(lane.url('/x'))).status, PATIENT).toBe(503);
  lane.respond((_request, response) => response.end('well'));
  await expect.poll(async () => (await send(lane.url('/x'))).status, PATIENT).toBe(200);
});

test.each(TRANSPORTS)('%s: the admin port names the target and its connections', async (name) => {
  const lane = lanes.of(name);
  await expect.poll(async () => (await send(lane.url('/x'))).status, PATIENT).toBe(200);
  const { upstreams } = (await (await fetch(`${lanes.gateway.adminUrl}/upstreams`)).json()) as Reports;
  const [target] = upstreams.find((each) => each.name === name)?.targets ?? [];
  const { address } = lane;
  const place = 'path' in address ? `unix:${address.path}` : `127.0.0.1:${address.port}`;
  expect(target?.target.endsWith(place)).toBe(true);
  expect(target).toMatchObject({ state: 'up', openConnections: expect.any(Number) });
  expect(target?.openConnections).toBeGreaterThan(0);
});

test('a WebSocket over a Unix socket is opened, and echoes', async () => {
  const lane = lanes.of('unix1');
  const sockets = new WebSocketServer({ server: lane.server as never });
  onTestFinished(() => void sockets.close());
  sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(`echo ${data}`)));
  const socket = new WebSocket(lane.url('/socket').replace('http:', 'ws:'));
  onTestFinished(() => socket.terminate());
  await once(socket, 'open');
  socket.send('hello');
  expect(String((await once(socket, 'message'))[0])).toBe('echo hello');
});

test.each(['http1', 'h2c'])(
  'a socket that is not there is 502, in words that tell nothing of it (%s)',
  async (protocol) => {
    const dir = mkdtempSync(join(tmpdir(), 'gateway-socket-'));
    const gateway = await startTestGateway({
      stores: 'sqlite',
      config: `
upstreams: { api: { protocol: ${protocol}, targets: ["unix:${dir}/none.sock"] } }
routes: [{ path: /**, upstream: api, access: public }]
`,
    });
    onTestFinished(async () => {
      await gateway.close();
      rmSync(dir, { recursive: true });
    });
    const response = await send(`${gateway.url}/x`);
    const text = await response.text();
    expect([response.status, JSON.parse(text)]).toEqual([
      502,
      expect.objectContaining({ code: 'upstream-unreachable' }),
    ]);
    expect(text).not.toMatch(/sock|ENOENT|tmp/);
  },
);
