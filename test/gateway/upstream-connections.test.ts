// How long connections to an upstream are kept, and what becomes of a request whose connection is closed under it.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { watchAddresses } from '../../src/forwarding/addresses.ts';
import { NOBODY } from '../../src/forwarding/identity-headers.ts';
import { createUpstream } from '../../src/forwarding/upstream.ts';
import { upstreamSchema } from '../../src/forwarding/upstream-options.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { send } from '../support/send.ts';
import { startTarget } from '../support/target.ts';

let cleanUp = new AsyncDisposableStack();
afterEach(async () => {
  await cleanUp.disposeAsync();
  cleanUp = new AsyncDisposableStack();
});

/** What a server knows of one request it was sent, on which connection, and the how-manieth there. */
type Answer = (request: { head: string; nth: number; socket: Socket }) => void;

/** A server that reads requests as text and may do as it likes. */
async function startRawServer(answer: Answer, host = '127.0.0.1'): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).once('close', () => sockets.delete(socket));
    let nth = 0;
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end);
        const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
        if (text.length < end + 4 + length) return;
        text = text.slice(end + 4 + length);
        answer({ head, nth: ++nth, socket });
      }
    });
  });
  await once(server.listen(0, host), 'listening');
  cleanUp.defer(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(() => resolve()));
  });
  return `http://${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}`;
}

async function startGateway(url: string, settings = ''): Promise<TestGateway> {
  const gateway = await startTestGateway({
    stores: 'sqlite',
    logLevel: 'warn',
    config: `
upstreams: { hub: { targets: ["${url}"]${settings && `, ${settings}`} } }
routes: [{ path: /**, upstream: hub, access: public }]
`,
  });
  cleanUp.defer(() => gateway.close());
  return gateway;
}

const ok = (socket: Socket, more = '') =>
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${more}\r\nok`);

describe('a connection that is closed just as a request goes out on it', () => {
  const closeSecond = async (how: (socket: Socket) => void) => {
    const seen: string[] = [];
    const url = await startRawServer(({ head, nth, socket }) => {
      seen.push(head.split(' ', 2).join(' '));
      if (nth === 1) ok(socket);
      else how(socket);
    });
    const gateway = await startGateway(url);
    expect((await send(`${gateway.url}/first`)).status).toBe(200);
    return { gateway, seen };
  };

  test.each(['GET', 'OPTIONS'])('a %s is sent once more, on a new one', async (method) => {
    const { gateway, seen } = await closeSecond((socket) => socket.destroy());
    const answer = await send(`${gateway.url}/second`, { method });
    expect([answer.status, await answer.text()]).toEqual([200, 'ok']);
    expect(seen).toEqual(['GET /first', `${method} /second`, `${method} /second`]);
  });

  test.each(['POST', 'PUT', 'DELETE', 'PATCH'])('a %s is 502, and sent once', async (method) => {
    const { gateway, seen } = await closeSecond((socket) => socket.resetAndDestroy());
    const answer = await send(`${gateway.url}/second`, { method, body: 'x' });
    expect([answer.status, (await answer.json()).code]).toEqual([502, 'upstream-broken']);
    expect(seen).toEqual(['GET /first', `${method} /second`]);
  });

  test('a GET with a body is 502, and sent once', async () => {
    const { gateway, seen } = await closeSecond((socket) => socket.destroy());
    expect((await send(`${gateway.url}/second`, { body: 'x' })).status).toBe(502);
    expect(seen).toHaveLength(2);
  });

  test('a GET whose answer has begun is 502, and sent once', async () => {
    const { gateway, seen } = await closeSecond((socket) => socket.end('HTTP/1.1 200 OK\r\nX: '));
    expect((await send(`${gateway.url}/second`)).status).toBe(502);
    expect(seen).toHaveLength(2);
  });

  test('a GET on a connection that carried nothing before is 502, and sent once', async () => {
    const seen: string[] = [];
    const url = await startRawServer(({ head, socket }) => {
      seen.push(head);
      socket.destroy();
    });
    const gateway = await startGateway(url);
    expect((await send(`${gateway.url}/x`)).status).toBe(502);
    expect(seen).toHaveLength(1);
  });

  test('a GET is sent once more, not again and again', async () => {
    let count = 0;
    const url = await startRawServer(({ nth, socket }) => {
      count++;
      if (count === 1 && nth === 1) ok(socket);
      else socket.destroy();
    });
    const gateway = await startGateway(url);
    await send(`${gateway.url}/first`);
    expect((await send(`${gateway.url}/x`)).status).toBe(502);
    expect(count).toBe(3);
  });
});

test('races with a server that closes idle connections', UNHURRIED, async (context) => {
  const races = scale({ quick: 100, full: 1000 });
  const arrived = new Map<string, number>();
  const lost = { GET: 0, POST: 0 };
  // Every other request on a connection that was idle meets its end, as if the server had just closed it.
  const url = await startRawServer(({ head, nth, socket }) => {
    const [method, path] = head.split(' ', 2) as ['GET' | 'POST', string];
    const name = `${method} ${path}`;
    arrived.set(name, (arrived.get(name) ?? 0) + 1);
    if (nth > 1 && (lost[method] + nth) % 2 === 0) {
      lost[method]++;
      socket.resetAndDestroy();
    } else ok(socket);
  });
  const gateway = await startGateway(url);
  const failed = { GET: 0, POST: 0 };
  const ask = async (method: 'GET' | 'POST', at: number) => {
    const answer = await send(`${gateway.url}/${at}`, { method, body: method === 'POST' ? 'x' : undefined });
    if (answer.status !== 200) failed[method]++;
    await answer.text();
  };
  for (let at = 0; lost.GET < races || lost.POST < races; at++)
    await Promise.all([ask('GET', at), ask('POST', at)]);
  const twice = (method: string) =>
    [...arrived].filter(([name, count]) => name.startsWith(method) && count > 1).length;
  report(context, {
    'idle-close races of GETs': lost.GET,
    'idle-close races of POSTs': lost.POST,
    'GETs failed': failed.GET,
    'POSTs failed': failed.POST,
    'POSTs sent twice': twice('POST'),
    'GETs sent once more': twice('GET'),
  });
  expect([failed.GET, twice('POST'), failed.POST]).toEqual([0, 0, lost.POST]);
  expect(twice('GET')).toBe(lost.GET);
});

/** How long after its answer the server sees the connection closed. */
async function idleTime(headers: string, settings: string): Promise<number> {
  const closed = Promise.withResolvers<number>();
  const url = await startRawServer(({ socket }) => {
    ok(socket, headers);
    const answeredAt = performance.now();
    socket.once('close', () => closed.resolve(performance.now() - answeredAt));
  });
  const gateway = await startGateway(url, settings);
  await send(`${gateway.url}/x`);
  return closed.promise;
}

test('a target may be an IPv6 address', async (context) => {
  const url = await startRawServer(({ socket }) => ok(socket), '::1').catch(() =>
    context.skip('this machine has no IPv6'),
  );
  const gateway = await startGateway(url);
  expect((await send(`${gateway.url}/x`)).status).toBe(200);
});

test('an idle connection is closed after keepAlive', async () => {
  const ms = await idleTime('', 'keepAlive: 300ms');
  expect(ms).toBeGreaterThan(250);
  expect(ms).toBeLessThan(4000);
});

test('an idle connection is closed a second before the server says it would', async () => {
  const ms = await idleTime('Keep-Alive: timeout=2\r\n', 'keepAlive: 1h');
  expect(ms).toBeGreaterThan(950);
  expect(ms).toBeLessThan(2000);
});

test('a connection is not used for longer than its life', async () => {
  const target = await startTarget('a');
  cleanUp.defer(() => target.stop());
  const gateway = await startGateway(target.url, 'keepAlive: 1h, connectionLife: 500ms');
  await send(`${gateway.url}/x`);
  const [first] = target.connections;
  await send(`${gateway.url}/y`);
  expect([...target.connections]).toEqual([first]);
  await expect.poll(() => target.connections.size).toBe(0);
  await send(`${gateway.url}/z`);
  expect(target.seen).toEqual(['GET /x', 'GET /y', 'GET /z']);
});

test('connections to an address that the name no longer has carry no further request', async () => {
  const target = await startTarget('a');
  cleanUp.defer(() => target.stop());
  const url = target.url.replace('127.0.0.1', 'localhost');
  const upstream = createUpstream('hub', upstreamSchema.parse({ targets: [url], keepAlive: '1h' }));
  cleanUp.defer(() => upstream.close());
  const { connections } = upstream.targets[0] as (typeof upstream.targets)[number];
  const ask = async (path: string) => {
    const connection = connections.take();
    await new Promise<void>((resolve, reject) =>
      connection.send(
        {
          method: 'GET',
          path,
          headers: ['host', 'localhost'],
          identity: NOBODY,
          body: null,
          isUpgrade: false,
        },
        {
          onSending: () => true,
          onAnswering() {},
          onHeaders: () => true,
          onData: () => true,
          onComplete: resolve,
          onUpgrade() {},
          onError: reject,
        },
      ),
    );
    return { finish: () => connections.giveBack(connection) };
  };
  (await ask('/first')).finish();
  const underWay = await ask('/second');
  let addresses = ['127.0.0.1', '::1'];
  cleanUp.defer(watchAddresses(upstream.targets, { lookUp: async () => addresses, everyMs: 10 }));
  (await ask('/third')).finish();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(target.connections.size).toBe(2);
  addresses = ['192.0.2.1'];
  await expect.poll(() => target.connections.size).toBe(1);
  underWay.finish();
  await expect.poll(() => target.connections.size).toBe(0);
});
