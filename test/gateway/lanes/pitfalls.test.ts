// What @fastify/http-proxy does unless told otherwise, one row each: over HTTP/2 the gateway does nothing of it.
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Client, signInWithToken } from '../../support/browser-like.ts';
import { report } from '../../support/figures.ts';
import { scale } from '../../support/scale.ts';
import { send, sendRaw } from '../../support/send.ts';
import { answerTo, type Lane, type Lanes, open, startLanes, textOf, valuesOf } from './lanes.ts';

let lanes: Lanes;
let client: Client;
beforeAll(async () => {
  lanes = await startLanes(', maxConnections: 1000');
  const email = { email: 'J\u00f6rg+\u{1F600}@example.com', primary: true, verified: true, visibility: null };
  lanes.gateway.github.control.addPerson({
    id: 4711,
    login: 'emoji',
    name: 'J\u00f6rg \u{1F600}\r\nX-Evil: 1',
    emails: [email],
  });
  client = await signInWithToken(lanes.gateway, 'emoji');
});
afterEach(() => lanes.quiet());
afterAll(() => lanes?.close());

describe.each(['h2', 'h2c'] as const)('%s', (name) => {
  let lane: Lane;
  beforeAll(() => {
    lane = lanes.of(name);
  });

  test('an answer with Trailer and Content-Length, or to HEAD, ends no process', async () => {
    lane.respond((_request, response) => {
      response.writeHead(200, { trailer: 'X-Sum', 'content-length': '2' });
      response.addTrailers({ 'x-sum': '1' });
      response.end('ok');
    });
    for (const method of ['GET', 'HEAD']) {
      const { status, headers } = await sendRaw(lane.url('/trailer'), { method });
      expect([status, valuesOf(headers, 'trailer'), valuesOf(headers, 'content-length')]).toEqual([
        200,
        [],
        ['2'],
      ]);
    }
  });

  test('a GET answered 503 is tried once, and others are answered meanwhile', async () => {
    const before = lane.requests;
    lane.respond((request, response) => {
      if (request.url === '/well') response.end('well');
      else response.writeHead(503, { 'retry-after': '120' }).end('x'.repeat(100_000));
    });
    const busy = Array.from({ length: 15 }, () => send(lane.url('/busy')));
    expect(await (await send(lane.url('/well'))).text()).toBe('well');
    expect((await Promise.all(busy)).map(({ status }) => status)).toEqual(Array(15).fill(503));
    expect(lane.requests).toBe(before + 16);
  });

  test('clients that go while the service is silent hold no stream', async (context) => {
    const clients = scale({ quick: 40, full: 1000 });
    let atOnce = 0;
    lane.respond((_request, response) => {
      atOnce++;
      response.once('close', () => atOnce--);
    });
    const requests = Array.from({ length: clients }, () => open(lane.url('/silent')).end());
    await expect.poll(() => atOnce, { timeout: 20_000 }).toBe(clients);
    const goneAt = performance.now();
    for (const request of requests) request.destroy();
    await expect.poll(() => atOnce, { timeout: 20_000, interval: 5 }).toBe(0);
    report(context, {
      [`${name}: clients gone`]: clients,
      [`${name}: streams ended after ms`]: Math.round(performance.now() - goneAt),
    });
  });

  test('ambiguous paths are refused before they are routed', async () => {
    const before = lane.requests;
    const paths = [
      '/./admin',
      '/%2e/admin',
      '/../x',
      '/..%2fx',
      '//x',
      '/x;y=1',
      '/x%00',
      '/%252e%252e/x',
      '/x\\y',
    ];
    for (const path of paths) expect([path, (await send(lane.url(path))).status]).toEqual([path, 400]);
    expect(lane.requests).toBe(before);
  });

  test('Expect, Keep-Alive and Upgrade without Connection are no 500', async () => {
    const { host, hostname, port } = new URL(lane.url('/'));
    for (const line of [
      'Expect: 100-continue',
      'Keep-Alive: timeout=5',
      'Upgrade: h2c',
      'TE: trailers',
      'Trailer: x',
      'HTTP2-Settings: AA',
    ]) {
      const socket = connect(Number(port), hostname);
      socket.write(`GET /${name}/public/x HTTP/1.1\r\nHost: ${host}\r\n${line}\r\nConnection: close\r\n\r\n`);
      expect([
        line,
        Buffer.concat(await socket.toArray())
          .toString()
          .slice(0, 12),
      ]).toEqual([line, 'HTTP/1.1 200']);
    }
  });

  test('headers about a proxy stay with it, both ways', async () => {
    lane.respond((request, response) => {
      const { headers } = request;
      const seen = [
        'te',
        'trailer',
        'proxy-connection',
        'proxy-authorization',
        'x-real-ip',
        'forwarded',
        'x_user_id',
      ];
      const out = { 'proxy-authenticate': 'Basic', 'proxy-authentication-info': 'x', 'x-own': 'kept' };
      response
        .writeHead(200, out)
        .end(seen.filter((each) => each in headers && headers[each] !== 'kept').join());
    });
    const response = await send(lane.url('/x'), {
      headers: {
        'proxy-connection': 'close',
        'proxy-authorization': 'x',
        te: 'trailers',
        'x-real-ip': '6.6.6.6',
        forwarded: 'for=6.6.6.6',
        x_user_id: 'kept',
      },
    });
    expect(await response.text()).toBe('');
    expect([response.headers.get('x-own'), response.headers.get('proxy-authenticate')]).toEqual([
      'kept',
      null,
    ]);
    expect(response.headers.get('proxy-authentication-info')).toBeNull();
  });

  test('a body of 3 MB of text/plain is neither spelled anew nor refused, and a GET keeps its own', async () => {
    lane.respond(async (request, response) => response.end(await textOf(request)));
    const body = 'J\u00f6rg\0'.repeat(430_000);
    for (const method of ['POST', 'GET']) {
      const sent = method === 'GET' ? body.slice(0, 100) : body;
      const response = await send(lane.url('/x'), {
        method,
        body: sent,
        headers: { 'content-type': 'text/plain' },
      });
      expect((await response.text()) === sent).toBe(true);
    }
  });

  test('connections that the service closes while they are idle fail no request', async (context) => {
    const rounds = scale({ quick: 40, full: 1000 });
    let failed = 0;
    const before = lane.requests;
    lane.respond((request, response) => {
      request.resume().once('end', () => {
        response.end('ok');
        // At the end of each exchange: the next one begins as the connection goes.
        setImmediate(() =>
          (response as unknown as { stream: { session?: { close(): void } } }).stream.session?.close(),
        );
      });
    });
    for (let round = 0; round < rounds; round++) {
      const { status } = await send(lane.url('/race'), { method: 'POST', body: 'x' });
      if (status !== 200) failed++;
    }
    report(context, {
      [`${name}: idle-close races`]: rounds,
      [`${name}: failed`]: failed,
      [`${name}: sent twice`]: lane.requests - before - rounds,
    });
    expect([failed, lane.requests - before - rounds]).toEqual([0, 0]);
  });

  test('a WebSocket is not opened before the service was asked: it is refused', async () => {
    const before = lane.requests;
    const response = await answerTo(
      open(lane.url('/socket'), 'GET', {
        ...{ connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' },
        'sec-websocket-key': 'x3JJHMbDL1EzLkh9GBhXDw==',
      }).end(),
    );
    expect([response.statusCode, lane.requests]).toEqual([501, before]);
  });

  test('an identity with letters beyond ASCII and line breaks locks nobody out', async () => {
    const response = await client.fetch(`/${name}/session/x`);
    expect(response.status).toBe(200);
    const { headers } = (await response.json()) as { headers: Record<string, string> };
    expect(decodeURIComponent(String(headers['x-forwarded-email']))).toContain('\u{1F600}');
    expect(headers['x-evil']).toBeUndefined();
  });

  test('a header named __proto__ pollutes nothing', async () => {
    const response = await send(lane.url('/x'), { headers: ['__proto__', 'x', 'constructor', 'y'] });
    expect(response.status).toBe(200);
    expect(({} as { x?: unknown }).x).toBeUndefined();
  });

  test('a silent event stream is not cut by the limits of answers', async () => {
    const stream = Promise.withResolvers<() => void>();
    lane.respond((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      stream.resolve(() => void response.end('data: late\n\n'));
    });
    const response = await answerTo(open(lane.url('/events', 'limited')).end());
    // Longer than the limits of the route for heads and for silence within other answers.
    await Promise.race([once(response, 'close'), new Promise((resolve) => setTimeout(resolve, 900))]);
    (await stream.promise)();
    expect(await textOf(response)).toBe('data: late\n\n');
  });
});
