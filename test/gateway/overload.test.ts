// More than the gateway can do is refused at the door.
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { send } from '../support/send.ts';

let gateway: TestGateway;
afterEach(() => gateway.close());

async function start(settings: string): Promise<ServerResponse[]> {
  gateway = await startTestGateway({
    stores: 'sqlite',
    config: `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes: [{ path: /**, upstream: hub, access: public }]
server: { ${settings} }
`,
  });
  const held: ServerResponse[] = [];
  gateway.upstream.respond((request, response) => {
    request.resume();
    if (request.url === '/held') held.push(response);
    else if (request.url === '/events')
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': open\n\n');
    else response.end('ok');
  });
  return held;
}

const admin = async (path: string) => (await fetch(`${gateway.adminUrl}${path}`)).status;
const told = () =>
  gateway
    .logLines()
    .map((line) => JSON.parse(line).msg)
    .filter((message) => /^overloaded/.test(message));

describe('with as many requests under way as there may be', () => {
  const fill = async () => {
    const held = await start('maxRequests: 2');
    const underWay = [send(`${gateway.url}/held`), send(`${gateway.url}/held`)];
    await expect.poll(() => held.length).toBe(2);
    return { held, underWay };
  };

  test('further ones are 503, of every kind; the admin port answers; what is under way goes on', async () => {
    const { held, underWay } = await fill();
    const refused = await send(`${gateway.url}/x`);
    expect(refused.headers.get('content-type')).toBe('application/problem+json');
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(refused.headers.get('x-gateway-intercepted-response')).toBe('true');
    expect(await refused.json()).toMatchObject({
      status: 503,
      code: 'overloaded',
      requestId: refused.headers.get('x-request-id'),
    });
    const large = await send(`${gateway.url}/x`, { method: 'POST', body: Buffer.alloc(4 * 1024 * 1024) });
    expect([large.status, (await large.json()).code]).toEqual([503, 'overloaded']);
    const auth = await send(`${gateway.url}/api/auth/get-session`);
    expect(await auth.json()).toMatchObject({ code: 'overloaded', message: expect.any(String) });
    const handshake = await send(`${gateway.url}/socket`, {
      headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' },
    });
    expect(handshake.status).toBe(503);
    expect([await admin('/livez'), await admin('/readyz'), await admin('/metrics')]).toEqual([200, 200, 200]);
    const seen = gateway.upstream.seen.map(({ url }) => url);
    expect(seen).toEqual(['/held', '/held']);
    for (const response of held) response.end('ok');
    expect((await Promise.all(underWay)).map(({ status }) => status)).toEqual([200, 200]);
    await expect.poll(async () => (await send(`${gateway.url}/x`)).status).toBe(200);
  });

  test('it is said once when it begins, and once when it is over; the metrics count', async () => {
    const { held, underWay } = await fill();
    for (let sent = 0; sent < 20; sent++) await send(`${gateway.url}/x`);
    await expect.poll(told).toEqual(['overloaded: requests are refused']);
    const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
    expect(metrics).toMatch(/^gateway_overloaded 1$/m);
    expect(metrics).toMatch(/^gateway_overload_refused_total 20$/m);
    expect(metrics).toMatch(/^gateway_requests_total\{.*code="503".*\} 20$/m);
    for (const response of held) response.end('ok');
    await Promise.all(underWay);
    await expect
      .poll(told, { timeout: 10_000 })
      .toEqual(['overloaded: requests are refused', 'overloaded is over']);
  });
});

test('streams are not counted', async () => {
  await start('maxRequests: 1');
  for (let opened = 0; opened < 3; opened++) {
    const request = httpRequest(`${gateway.url}/events`, { agent: false }).on('error', () => {});
    onTestFinished(() => void request.destroy());
    const [response] = (await once(request.end(), 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(200);
    await once(response, 'data');
  }
  expect((await send(`${gateway.url}/x`)).status).toBe(200);
});

test('while the event loop is late requests are 503, and no longer when it is in time', async () => {
  await start('maxDelay: 50ms');
  expect((await send(`${gateway.url}/x`)).status).toBe(200);
  const drown = setInterval(() => {
    for (const until = performance.now() + 250; performance.now() < until; );
  }, 1);
  try {
    await expect.poll(async () => (await send(`${gateway.url}/x`)).status, { timeout: 15_000 }).toBe(503);
  } finally {
    clearInterval(drown);
  }
  await expect.poll(async () => (await send(`${gateway.url}/x`)).status, { timeout: 15_000 }).toBe(200);
});
