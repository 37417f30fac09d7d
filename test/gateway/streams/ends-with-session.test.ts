// What opened a stream keeps it open: it ends within a second of its session, whoever ended that.
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { WebSocket } from 'ws';
import {
  type Client,
  cookieHeader,
  createClient,
  post,
  signInWithGitHub,
} from '../../support/browser-like.ts';
import { report } from '../../support/figures.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { isFullRun, scale, UNHURRIED } from '../../support/scale.ts';
import {
  acceptance,
  closeOf,
  type EventStream,
  handshakeText,
  openBare,
  openEventStream,
  openWebSocket,
} from '../../support/streams.ts';
import { addSubject } from '../../support/subject.ts';
import { acceptWebSocket } from '../../support/upstream.ts';
import {
  applicationWriter,
  type Change,
  gatewayWriter,
  type Subject,
  sqlWriter,
  type Writer,
} from '../../support/writers.ts';

const CONFIG = `
upstreams:
  hub: { targets: ["\${UPSTREAM}"] }
routes:
  - { path: /public/**, upstream: hub, access: public }
  - { path: /optional/**, upstream: hub, access: optional }
  - { path: /api/admin/**, upstream: hub, access: { roles: [admin] } }
  - { path: /api/full/**, upstream: hub, impersonation: full }
  - { path: /api/told/**, upstream: hub, finalEvent: true }
  - { path: /api/repos/**, upstream: hub, access: { scopes: [public_repo] } }
  - { path: /api/**, upstream: hub }
admins: [monalisa]
`;
/** Streams that each kind of writer ends, half of them WebSockets. */
const STREAMS = scale({ quick: 24, full: 500 });
const AT_ONCE = 4;
/** From the answer to whoever revokes; beside other tests a machine may stand still for a while. */
const ENDS_WITHIN_MS = scale({ quick: 3000, full: 1000 });

let gateway: TestGateway;
let other: TestGateway;
let administrator: Client;
beforeAll(async () => {
  gateway = await startTestGateway({ config: CONFIG, logLevel: 'warn' });
  other = await gateway.another({ BETTER_AUTH_URL: gateway.url });
  administrator = (await signInWithGitHub(gateway, 'monalisa')).client;
});
afterEach(() => {
  gateway.upstream.respond(undefined);
  gateway.upstream.upgrade(undefined);
});
afterAll(async () => {
  await other?.close();
  await gateway?.close();
});

/** Event streams that have begun with one event. */
const acceptStreams = (onStream: (response: ServerResponse) => void = () => {}) =>
  gateway.upstream.respond((request, response) => {
    if (request.headers.accept !== 'text/event-stream') return void response.end('{}');
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: hello\n\n');
    onStream(response.on('error', () => {}));
  });

const newSubject = () => addSubject(gateway);

interface Opened {
  readonly webSocket: WebSocket;
  readonly events: EventStream;
  readonly closed: Promise<{ code: number; reason: string }>;
}

/** One of each kind. */
async function openBoth(client: Client, path = '/api/x', to: TestGateway = gateway): Promise<Opened> {
  acceptStreams();
  const webSocket = await openWebSocket(to.url + path, { client });
  const events = await openEventStream(to.url + path, { client });
  expect(events.response.statusCode).toBe(200);
  const closed = closeOf(webSocket);
  onTestFinished(() => {
    webSocket.terminate();
    events.close();
  });
  return { webSocket, events, closed };
}

describe.each([
  ['this gateway', async () => gatewayWriter(gateway, administrator)],
  ['another gateway', async () => gatewayWriter(other, administrator)],
  [
    'another application',
    async () =>
      applicationWriter(
        {
          url: gateway.url,
          databaseUrl: gateway.config.databaseUrl ?? '',
          secret: gateway.config.secrets[0]?.value ?? '',
        },
        administrator,
      ),
  ],
  ['plain SQL', () => sqlWriter(gateway.config.databaseUrl ?? '')],
] as [string, () => Promise<Writer>][])('by %s', (_name, open) => {
  let writer: Writer;
  beforeAll(async () => {
    writer = await open();
  });
  afterAll(() => writer?.close());

  test('streams whose sessions are revoked are gone within a second', UNHURRIED, async (context) => {
    const changes: Change[] = ['sign-out', 'revoke one', 'revoke all', 'ban', 'user deletion'];
    const left = Array.from(
      { length: STREAMS / 2 },
      (_, at) => changes[at % changes.length] as Change,
    ).values();
    const lags: number[] = [];
    const wrong: string[] = [];
    let tried = 0;
    const work = async () => {
      for (const change of left) {
        const subject = await newSubject();
        const { webSocket, events, closed } = await openBoth(subject.client);
        const gone = Promise.all([
          closed.then(() => performance.now()),
          events.ended.then(() => performance.now()),
        ]);
        await untilStored(() => writer.write(change, subject));
        const writtenAt = performance.now();
        lags.push(...(await gone).map((at) => at - writtenAt));
        tried += 2;
        const { code } = await closed;
        const isRight = code === (change === 'ban' ? 4403 : 4401) || (code === 1013 && !isFullRun);
        if (!isRight || (await events.ended) !== 'end') wrong.push(`${change}: ${code}`);
        webSocket.terminate();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    const alive = lags.filter((ms) => ms > ENDS_WITHIN_MS).length;
    report(context, { streams: tried, aliveAfterOneSecond: alive, mostMs: Math.round(Math.max(...lags)) });
    expect(wrong).toEqual([]);
    expect(alive).toBe(0);
  });

  test('a stream is not cut by a change its route does not mind', async () => {
    const subject = await newSubject();
    const { webSocket, events } = await openBoth(subject.client, '/api/repos/x');
    await writer.write('role', subject);
    await expect.poll(async () => (await subject.client.fetch('/api/admin/x')).status).toBe(200);
    webSocket.send('still here');
    expect(String((await once(webSocket, 'message'))[0])).toBe('still here');
    expect(await Promise.race([events.ended, Promise.resolve('open')])).toBe('open');
  });

  test('a stream ends when its person loses a scope the route needs', async () => {
    const subject = await newSubject();
    const { events, closed } = await openBoth(subject.client, '/api/repos/x');
    await gateway.store.query(`update account set scope = 'user:email' where "userId" = $1`, subject.userId);
    expect(await closed).toEqual({ code: 4403, reason: 'scope-missing' });
    expect(await events.ended).toBe('end');
  });
});

/** Where the machine is busy the store is away now and then: 503 (1013 on a stream). Nothing was changed then. */
async function untilStored(write: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++)
    try {
      return await write();
    } catch (error) {
      if (tries === 5 || !/was answered 503/.test(String(error))) throw error;
    }
}

test('a stream of an administrator ends when the role is taken', async () => {
  const subject = await newSubject();
  const command = (role: string) =>
    administrator.fetch('/api/auth/admin/set-role', post({ userId: subject.userId, role }));
  expect((await command('admin')).status).toBe(200);
  const { events, closed } = await openBoth(subject.client, '/api/admin/x');
  expect((await command('user')).status).toBe(200);
  expect(await closed).toEqual({ code: 4403, reason: 'role-missing' });
  expect(await events.ended).toBe('end');
});

test('a stream ends with the impersonation in which it was opened', async () => {
  const { userId } = await newSubject();
  const { client: admin } = await signInWithGitHub(gateway, 'monalisa');
  expect((await admin.fetch('/api/auth/admin/impersonate-user', post({ userId }))).status).toBe(200);
  const acting = createClient(gateway.url, new Map(admin.cookies));
  const { events, closed } = await openBoth(acting, '/api/full/x');
  expect(gateway.upstream.seen.at(-1)?.headers).toMatchObject({ 'x-forwarded-user': userId });
  expect((await admin.fetch('/api/auth/admin/stop-impersonating', post())).status).toBe(200);
  expect(await closed).toEqual({ code: 4401, reason: 'session-expired' });
  expect(await events.ended).toBe('end');
});

test('a stream in which somebody is impersonated ends when the administrator is banned', async () => {
  const { userId } = await newSubject();
  const { client: admin, userId: adminId } = await newSubject();
  await gateway.store.query(`update "user" set role = 'admin' where id = $1`, adminId);
  await expect
    .poll(async () => (await admin.fetch('/api/auth/admin/impersonate-user', post({ userId }))).status)
    .toBe(200);
  const { events, closed } = await openBoth(createClient(gateway.url, admin.cookies), '/api/full/x');
  await gateway.store.query(`update "user" set banned = true where id = $1`, adminId);
  expect((await closed).code).toBeGreaterThanOrEqual(4401);
  expect(await events.ended).toBe('end');
});

test('a stream ends when its session runs out, and a session that was given more time goes on', async () => {
  const { client, token } = await newSubject();
  // Others are extended as long as a stream uses them.
  client.cookies.set('better-auth.dont_remember', 'true');
  const endsIn = (ms: number) =>
    gateway.store.query(
      'update session set "expiresAt" = $1 where token = $2',
      new Date(Date.now() + ms).toISOString(),
      token,
    );
  await endsIn(1500);
  const { webSocket, events, closed } = await openBoth(client);
  await endsIn(4000);
  const from = performance.now();
  expect(await closed).toEqual({ code: 4401, reason: 'session-expired' });
  expect(await events.ended).toBe('end');
  expect(performance.now() - from).toBeGreaterThan(2500);
  expect(performance.now() - from).toBeLessThan(4000 + ENDS_WITHIN_MS);
  webSocket.terminate();
});

test('a session that only a stream uses is extended', async () => {
  const { client, token } = await newSubject();
  const { webSocket } = await openBoth(client);
  const sixDays = new Date(Date.now() + 5.9 * 86_400_000).toISOString();
  await gateway.store.query('update session set "expiresAt" = $1 where token = $2', sixDays, token);
  const daysLeft = async () => {
    const [row] = await gateway.store.query<{ expiresAt: Date }>(
      'select "expiresAt" from session where token = $1',
      token,
    );
    return (new Date(row?.expiresAt ?? 0).getTime() - Date.now()) / 86_400_000;
  };
  await expect.poll(daysLeft, { timeout: 5000 }).toBeGreaterThan(6.9);
  webSocket.send('still here');
  expect(String((await once(webSocket, 'message'))[0])).toBe('still here');
});

test('a stream of nobody does not end with anybody, and one of an optional route does', async () => {
  const subject = await newSubject();
  const anonymous = await openBoth(createClient(gateway.url), '/optional/x');
  const ofPublic = await openBoth(subject.client, '/public/x');
  const announced = await openBoth(subject.client, '/optional/x');
  await gateway.store.query('delete from session where token = $1', subject.token);
  expect(await announced.closed).toEqual({ code: 4401, reason: 'session-expired' });
  expect(await announced.events.ended).toBe('end');
  for (const { webSocket } of [anonymous, ofPublic]) {
    webSocket.send('still here');
    expect(String((await once(webSocket, 'message'))[0])).toBe('still here');
  }
});

test('other sessions of the person keep their streams', async () => {
  const subject = await newSubject();
  const second = await addSubject(gateway, { userId: subject.userId });
  const ending = await openBoth(subject.client);
  const staying = await openBoth(second.client);
  await gateway.store.query('delete from session where token = $1', subject.token);
  await ending.closed;
  staying.webSocket.send('still here');
  expect(String((await once(staying.webSocket, 'message'))[0])).toBe('still here');
});

test('a session that ends while the upstream is asked opens no lasting stream', async () => {
  const waiting: (() => void)[] = [];
  gateway.upstream.upgrade((...handshake) => void waiting.push(() => acceptWebSocket(...handshake)));
  gateway.upstream.respond((_request, response) => {
    waiting.push(() => response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders());
  });
  const subject = await newSubject();
  const webSocket = openWebSocket(`${gateway.url}/api/x`, { client: subject.client });
  const events = openEventStream(`${gateway.url}/api/x`, { client: subject.client });
  await expect.poll(() => waiting.length).toBe(2);
  await gateway.store.query('delete from session where token = $1', subject.token);
  await expect
    .poll(async () =>
      (await createClient(gateway.url, subject.client.cookies).fetch('/api/auth/get-session')).text(),
    )
    .toBe('null');
  for (const answer of waiting) answer();
  expect(await closeOf(await webSocket)).toEqual({ code: 4401, reason: 'session-expired' });
  expect(await (await events).ended).toBe('end');
});

test('where the route allows, an event stream is told why it ends, between two events only', async () => {
  const responses: ServerResponse[] = [];
  acceptStreams((response) => responses.push(response));
  const subject = await newSubject();
  const open = (path: string) => openEventStream(gateway.url + path, { client: subject.client });
  const told = await open('/api/told/x');
  const within = await open('/api/told/x');
  const untold = await open('/api/x');
  responses[1]?.write('data: half an ev');
  await expect.poll(() => within.text()).toBe('data: hello\n\ndata: half an ev');
  await expect.poll(() => [told.text(), untold.text()]).toEqual(['data: hello\n\n', 'data: hello\n\n']);
  await gateway.store.query('update "user" set banned = true where id = $1', subject.userId);
  for (const stream of [told, within, untold]) expect(await stream.ended).toBe('end');
  expect(told.text()).toBe('data: hello\n\nevent: gateway\ndata: {"code":"user-banned"}\n\n');
  expect(within.text()).toBe('data: hello\n\ndata: half an ev');
  expect(untold.text()).toBe('data: hello\n\n');
});

test('a long answer that is no event stream is cut, so that it looks cut', async () => {
  gateway.upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' }).write('{"line":1}\n');
  });
  const subject = await newSubject();
  const answer = await openEventStream(`${gateway.url}/api/x`, { client: subject.client });
  await gateway.store.query('delete from session where token = $1', subject.token);
  expect(await answer.ended).toBe('cut');
});

describe('the last frame', () => {
  /** A bare WebSocket on both sides. */
  const openBarePair = async (subject: Subject) => {
    const accepted = Promise.withResolvers<Duplex>();
    gateway.upstream.upgrade((request, socket) => {
      socket.write(acceptance(request));
      accepted.resolve(socket);
    });
    const text = handshakeText('/api/x', { Cookie: cookieHeader(subject.client.cookies) });
    const { socket } = await openBare(gateway.url, text);
    onTestFinished(() => void socket.destroy());
    let got = Buffer.alloc(0);
    socket
      .on('error', () => {})
      .on('data', (chunk) => {
        got = Buffer.concat([got, chunk]);
      });
    const gone = new Promise<number>((resolve) => socket.once('close', () => resolve(performance.now())));
    return { client: socket, upstream: await accepted.promise, got: () => got.toString('latin1'), gone };
  };
  const GOODBYE = '\x88\x11\x11\x31session-expired';

  test('stands behind the frame that is under way', async () => {
    const subject = await newSubject();
    const { client, upstream, got } = await openBarePair(subject);
    upstream.write(Buffer.from('\x82\x0aabcde', 'latin1'));
    await expect.poll(got).toBe('\x82\x0aabcde');
    await gateway.store.query('delete from session where token = $1', subject.token);
    // The upstream is told as soon as the client is between two frames, which it is.
    const [told] = await once(upstream, 'data');
    expect([told[0], told[1]]).toEqual([0x88, 0x82]);
    expect(got()).toBe('\x82\x0aabcde');
    // It ends its frame, and what it sends behind that is dropped.
    upstream.write(Buffer.from('fghij\x82\x05later', 'latin1'));
    await expect.poll(got).toBe(`\x82\x0aabcdefghij${GOODBYE}`);
    client.destroy();
  });

  test('is left out when the frame under way does not end within a second', async () => {
    const subject = await newSubject();
    const { upstream, got, gone } = await openBarePair(subject);
    upstream.write(Buffer.from('\x82\x0aabcde', 'latin1'));
    await expect.poll(got).toBe('\x82\x0aabcde');
    await gateway.store.query('delete from session where token = $1', subject.token);
    const from = performance.now();
    const ms = (await gone) - from;
    expect(got()).toBe('\x82\x0aabcde');
    expect(ms).toBeGreaterThan(900);
    expect(ms).toBeLessThan(1000 + ENDS_WITHIN_MS);
  });

  test('is followed by nothing, and both sides are gone a second later, whatever they do', async () => {
    const subject = await newSubject();
    const { client, upstream, got, gone } = await openBarePair(subject);
    upstream.resume();
    const talking = setInterval(() => {
      if (!upstream.destroyed) upstream.write(Buffer.from('\x81\x02hi', 'latin1'));
      if (!client.destroyed) client.write(Buffer.from('\x81\x82\0\0\0\0hi', 'latin1'));
    }, 5);
    onTestFinished(() => clearInterval(talking));
    await expect.poll(got).toContain('hi');
    await gateway.store.query('delete from session where token = $1', subject.token);
    const from = performance.now();
    expect((await gone) - from).toBeLessThan(1100 + ENDS_WITHIN_MS);
    expect(got().endsWith(GOODBYE)).toBe(true);
    await expect.poll(() => upstream.destroyed, { timeout: 5000 }).toBe(true);
  });
});
