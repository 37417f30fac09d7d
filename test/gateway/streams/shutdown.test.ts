// An orderly end: what is open is told, and nothing holds the process up.
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { afterEach, expect, onTestFinished, test } from 'vitest';
import { report } from '../../support/figures.ts';
import { startSurroundings, startTestGateway } from '../../support/gateway.ts';
import { startGatewayProcess } from '../../support/gateway-process.ts';
import { scale, UNHURRIED } from '../../support/scale.ts';
import { closeOf, handshakeText, openBare, openEventStream, openWebSocket } from '../../support/streams.ts';

const EACH = scale({ quick: 10, full: 200 });
/** Of main.ts; afterwards the process leaves with code 1. */
const GRACE_MS = 10_000;
const CONFIG = `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes: [{ path: /**, upstream: hub, access: public, finalEvent: true }]
`;
const QUIET = { stores: 'sqlite', logLevel: 'error', config: CONFIG } as const;

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const beginStream = (response: ServerResponse) =>
  response
    .on('error', () => {})
    .writeHead(200, { 'content-type': 'text/event-stream' })
    .write('data: 1\n\n');

test(
  'SIGTERM: WebSockets get 1001, event streams their end, and the process leaves in time',
  UNHURRIED,
  async (context) => {
    const around = await startSurroundings(QUIET);
    closing.push(() => around.close());
    around.upstream.respond((_request, response) => void beginStream(response));
    const gateway = await startGatewayProcess(around);
    closing.push(() => gateway.end());
    const many = <T>(open: () => Promise<T>) => Promise.all(Array.from({ length: EACH }, open));
    const webSockets = await many(() => openWebSocket(`${gateway.url}/x`));
    const streams = await many(() => openEventStream(`${gateway.url}/x`));
    const endings = webSockets.map(closeOf);
    // One that never answers the goodbye, and one in the middle of a frame.
    const deaf = await openBare(gateway.url, handshakeText('/x'));
    deaf.socket.resume().on('error', () => {});
    const half = await openBare(gateway.url, handshakeText('/x'));
    half.socket.on('error', () => {}).write(Buffer.from([0x82, 0xff]));
    const from = performance.now();
    const code = await gateway.end();
    const ms = performance.now() - from;

    const told = await Promise.all(endings);
    const ended = await Promise.all(streams.map((stream) => stream.ended));
    const untold =
      told.filter((each) => each.code !== 1001).length + ended.filter((how) => how !== 'end').length;
    report(context, {
      webSockets: EACH + 2,
      eventStreams: EACH,
      untold,
      exitCode: String(code),
      endedWithinMs: Math.round(ms),
    });
    expect(new Set(told.map((each) => JSON.stringify(each)))).toEqual(
      new Set([JSON.stringify({ code: 1001, reason: 'gateway-ending' })]),
    );
    expect(untold).toBe(0);
    for (const stream of streams)
      expect(stream.text()).toBe('data: 1\n\nevent: gateway\ndata: {"code":"gateway-ending"}\n\n');
    expect(code).toBe(0);
    expect(ms).toBeLessThan(GRACE_MS);
  },
);

test('an event stream on a connection that is kept does not hold the end up', async () => {
  const gateway = await startTestGateway(QUIET);
  gateway.upstream.respond((_request, response) => void beginStream(response));
  const agent = new Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const response = await new Promise<IncomingMessage>((resolve) => {
    httpRequest(`${gateway.url}/x`, { agent }, resolve).end();
  });
  await once(response, 'data');
  const from = performance.now();
  await gateway.close();
  expect(performance.now() - from).toBeLessThan(5000);
});

test('a client that does not read its events does not hold the end up', async () => {
  const gateway = await startTestGateway(QUIET);
  gateway.upstream.respond((_request, response) => {
    beginStream(response);
    const more = () => {
      while (!response.destroyed && response.write(`data: ${'x'.repeat(60_000)}\n\n`));
    };
    response.on('drain', more);
    more();
  });
  const response = await new Promise<IncomingMessage>((resolve) => {
    httpRequest(`${gateway.url}/x`, { agent: false }, resolve).end();
  });
  response.on('error', () => {}).pause();
  const from = performance.now();
  await gateway.close();
  expect(performance.now() - from).toBeLessThan(6000);
});

test('a stream whose upstream answers only when the gateway ends is not opened', async () => {
  const gateway = await startTestGateway(QUIET);
  const held = Promise.withResolvers<ServerResponse>();
  gateway.upstream.respond((_request, response) => held.resolve(response));
  const opening = openEventStream(`${gateway.url}/x`);
  const response = await held.promise;
  const closed = gateway.close();
  await expect.poll(() => gateway.app.server.listening).toBe(false);
  beginStream(response);
  const stream = await opening;
  await stream.ended;
  expect([stream.response.statusCode, JSON.parse(stream.text()).code]).toEqual([503, 'overloaded']);
  await closed;
});
