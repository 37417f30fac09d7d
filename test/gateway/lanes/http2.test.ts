// HTTP/2's own ways of failing: connections that end, streams that are refused, limits.
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import {
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from 'node:http2';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { send } from '../../support/send.ts';
import { answerTo, closeOf, open } from './lanes.ts';

type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

let gateway: TestGateway;
let server: Http2Server;
let onStream: OnStream;
const sessions: ServerHttp2Session[] = [];
let streams = 0;

const ok: OnStream = (stream) => {
  stream.respond({ ':status': 200 });
  stream.end('ok');
};
const url = (path: string) => `${gateway.url}${path}`;
const problemOf = async (response: Response) => [
  response.status,
  ((await response.json()) as { code: string }).code,
];

beforeAll(async () => {
  onStream = ok;
  server = createServer();
  server.on('session', (session) => sessions.push(session.on('error', () => {})));
  server.on('stream', (stream, headers) => {
    streams++;
    onStream(
      stream.on('error', () => {}),
      headers,
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  gateway = await gatewayTo(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
afterEach(async () => {
  onStream = ok;
  // The next test begins with a connection of its own.
  await Promise.all(
    sessions.splice(0).map((session) => {
      if (session.closed || session.destroyed) return null;
      session.destroy();
      return once(session, 'close');
    }),
  );
});
afterAll(async () => {
  await gateway?.close();
  server?.close();
});

function gatewayTo(...targets: string[]): Promise<TestGateway> {
  return startTestGateway({
    stores: 'sqlite',
    config: `
upstreams: { api: { protocol: h2c, targets: ${JSON.stringify(targets)}, timeouts: { connect: 500ms, headers: 5s } } }
routes:
  - { path: /**, upstream: api, access: public }
  - { path: /short/**, upstream: api, access: public, timeouts: { headers: 300ms } }
`,
  });
}

async function startServer(settings: Settings, answer: OnStream) {
  const own = createServer({ settings });
  const seen = { sessions: 0, streams: 0, most: 0 };
  own.on('session', (session) => {
    let open = 0;
    seen.sessions++;
    session
      .on('error', () => {})
      .on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
        seen.streams++;
        seen.most = Math.max(seen.most, ++open);
        stream.on('error', () => {}).once('close', () => open--);
        answer(stream, headers);
      });
  });
  own.listen(0, '127.0.0.1');
  await once(own, 'listening');
  onTestFinished(() => void own.close());
  return { url: `http://127.0.0.1:${(own.address() as AddressInfo).port}`, seen };
}

async function startTcp(onConnection: (socket: Socket) => void): Promise<string> {
  const tcp = createTcpServer((socket) => onConnection(socket.on('error', () => {})));
  tcp.listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  onTestFinished(() => void tcp.close());
  return `http://127.0.0.1:${(tcp.address() as AddressInfo).port}`;
}

const beside = async (...targets: string[]) => {
  const other = await gatewayTo(...targets);
  onTestFinished(() => other.close());
  return other;
};

describe('a stream that is refused', () => {
  const refusals: [string, (stream: ServerHttp2Stream) => void][] = [
    ['by REFUSED_STREAM', (stream) => stream.close(7)],
    ['by a GOAWAY that leaves it out', (stream) => stream.session?.goaway(0, Number(stream.id) - 2)],
    ['by a GOAWAY with an error', (stream) => stream.session?.goaway(11, Number(stream.id) - 2)],
  ];

  test.each(refusals)('%s is sent once more, with its body', async (_how, refuse) => {
    for (const [method, body] of [
      ['GET', undefined],
      ['POST', 'x'.repeat(50_000)],
    ] as const) {
      onStream = ok;
      // Node cannot say that it has taken no stream at all.
      await send(url('/first'));
      const before = streams;
      onStream = (stream) => {
        if (streams === before + 1) return refuse(stream);
        let length = 0;
        stream.on('data', (chunk) => {
          length += chunk.length;
        });
        stream.once('end', () => {
          stream.respond({ ':status': 200 });
          stream.end(String(length));
        });
      };
      const response = await send(url('/again'), { method, body });
      expect([method, response.status, await response.text()]).toEqual([
        method,
        200,
        String(body?.length ?? 0),
      ]);
      expect(streams).toBe(before + 2);
    }
  });

  test('again is 503, and not sent a third time', async () => {
    const before = streams;
    onStream = (stream) => stream.close(7);
    expect(await problemOf(await send(url('/never')))).toEqual([503, 'upstream-unavailable']);
    expect(streams).toBe(before + 2);
  });

  test('within a long body is not sent again', async () => {
    const before = streams;
    onStream = (stream) => {
      let length = 0;
      stream.on('data', (chunk) => {
        length += chunk.length;
        if (length > 100_000) stream.close(7);
      });
    };
    const request = open(url('/long'), 'POST', { 'transfer-encoding': 'chunked' });
    request.write('x'.repeat(150_000));
    expect((await answerTo(request)).statusCode).toBe(503);
    expect(streams).toBe(before + 1);
  });
});

describe('a connection that ends', () => {
  test('with GOAWAY lets its streams end; the next request takes another', async () => {
    const held = Promise.withResolvers<ServerHttp2Stream>();
    onStream = (stream) => held.resolve(stream);
    const answering = send(url('/held'));
    const stream = await held.promise;
    onStream = ok;
    stream.session?.goaway(0);
    // The first connection is known to be ending once a request has gone round it.
    await expect
      .poll(async () => {
        await send(url('/other'));
        return sessions.length;
      })
      .toBe(2);
    stream.respond({ ':status': 200 });
    stream.end('in the end');
    expect(await (await answering).text()).toBe('in the end');
  });

  test.each(['GET', 'POST'])('under a %s that was taken: 502, and it is not sent again', async (method) => {
    const before = streams;
    onStream = (stream) => void stream.session?.destroy();
    const response = await send(url('/lost'), { method, body: method === 'POST' ? 'body' : undefined });
    expect(await problemOf(response)).toEqual([502, 'upstream-broken']);
    expect(streams).toBe(before + 1);
    onStream = ok;
    expect((await send(url('/after'))).status).toBe(200);
  });

  test('under answers cuts all of them, and the process lives', async () => {
    onStream = (stream) => {
      stream.respond({ ':status': 200 });
      stream.write('begun');
    };
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const response = await answerTo(open(url('/begun')).end());
        await once(response, 'data');
        return response;
      }),
    );
    for (const session of sessions) (session.socket as Socket).destroy();
    await Promise.all(answers.map((response) => closeOf(response)));
    expect(answers.filter(({ complete }) => complete)).toEqual([]);
    onStream = ok;
    expect((await send(url('/after'))).status).toBe(200);
  });
});

describe('an answer that is cut', () => {
  const ways: [string, (stream: ServerHttp2Stream) => void][] = [
    ['by NO_ERROR', (stream) => void stream.destroy()],
    ['by INTERNAL_ERROR', (stream) => void stream.destroy(new Error('broken'))],
    ['by GOAWAY with an error', (stream) => stream.session?.goaway(2, 0)],
  ];
  test.each(ways)('%s is never taken for a whole one', async (_how, cut) => {
    const begun = Promise.withResolvers<ServerHttp2Stream>();
    onStream = (stream) => {
      stream.respond({ ':status': 200 });
      stream.write('begun');
      begun.resolve(stream);
    };
    const response = await answerTo(open(url('/cut')).end());
    await once(response, 'data');
    cut(await begun.promise);
    await closeOf(response);
    expect(response.complete).toBe(false);
  });
});

test.each([
  ['before the answer', false],
  ['within the answer', true],
])('a client that goes %s resets its stream with CANCEL, and leaves the others', async (_when, answers) => {
  const arrived: ServerHttp2Stream[] = [];
  const ends: string[] = [];
  onStream = (stream) => {
    arrived.push(stream);
    const { push } = stream;
    // Node ends a stream that is reset like one that was ended: the latter comes first.
    stream.push = (chunk, encoding) => {
      if (chunk === null && !stream.closed) ends.push('whole');
      return push.call(stream, chunk, encoding);
    };
    stream.resume();
    if (answers) {
      stream.respond({ ':status': 200 });
      stream.write('begun');
    }
  };
  const request = open(url('/going'), 'POST', { 'transfer-encoding': 'chunked' });
  request.write('half');
  if (answers) await once(await answerTo(request), 'data');
  await expect.poll(() => arrived.length).toBe(1);
  const staying = send(url('/staying'));
  await expect.poll(() => arrived.length).toBe(2);
  const [gone, stays] = arrived as [ServerHttp2Stream, ServerHttp2Stream];
  request.destroy();
  if (!gone.closed) await once(gone, 'close');
  // Half a body is not ended as if it were whole.
  expect([gone.rstCode, ends]).toEqual([8, []]);
  expect(stays.destroyed).toBe(false);
  if (!answers) stays.respond({ ':status': 200 });
  stays.end('stayed');
  expect(await (await staying).text()).toMatch(/stayed$/);
});

test('a target that allows no streams holds nobody longer than the time for the head, nor whoever has gone', async () => {
  const { url: target } = await startServer({ maxConcurrentStreams: 0 }, () => {});
  const other = await beside(target);
  const inFlight = async () => {
    const { upstreams } = (await (await send(`${other.adminUrl}/upstreams`)).json()) as {
      upstreams: { targets: { inFlight: number }[] }[];
    };
    return upstreams[0]?.targets[0]?.inFlight;
  };
  expect(await problemOf(await send(`${other.url}/short/x`))).toEqual([504, 'upstream-timeout']);
  expect(await inFlight()).toBe(0);
  const leaving = open(`${other.url}/x`).end();
  await expect.poll(inFlight).toBe(1);
  leaving.destroy();
  await expect.poll(inFlight).toBe(0);
});

test('no connection carries more streams than its target allows, and nobody is left waiting', async () => {
  const { url: target, seen } = await startServer({ maxConcurrentStreams: 5 }, (stream, headers) => {
    setTimeout(() => {
      stream.respond({ ':status': 200 });
      stream.end(headers[':path']);
    }, 5);
  });
  const other = await beside(target);
  const asked = Array.from({ length: 300 }, (_, at) => `/limited/${at}`);
  const answers: string[] = [];
  const ask = async () => {
    for (let path = asked.pop(); path !== undefined; path = asked.pop())
      answers.push(`${path} ${await (await send(`${other.url}${path}`)).text()}`);
  };
  await Promise.all(Array.from({ length: 60 }, ask));
  expect(answers.filter((line) => new Set(line.split(' ')).size !== 1)).toEqual([]);
  expect([seen.streams, answers.length]).toEqual([300, 300]);
  expect(seen.most).toBeLessThanOrEqual(5);
});

test('uploads and open streams share a connection', async () => {
  onStream = (stream, headers) => {
    if (headers[':path'] === '/events') {
      stream.respond({ ':status': 200, 'content-type': 'text/event-stream' });
      stream.write('data: 1\n\n');
    } else stream.resume().once('end', () => ok(stream, headers));
  };
  const events = await answerTo(open(url('/events')).end());
  await once(events, 'data');
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => send(url('/upload'), { method: 'POST', body: 'x'.repeat(100_000) })),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
  expect(sessions.length).toBe(1);
});

describe('a target', () => {
  test('that takes connections and is silent is 504 after the limit to connect, and is sent no request', async () => {
    let text = '';
    const target = await startTcp((socket) =>
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
      }),
    );
    const other = await beside(target);
    const response = await send(`${other.url}/secret-path`, { headers: { authorization: 'Bearer secret' } });
    expect(await problemOf(response)).toEqual([504, 'upstream-timeout']);
    expect(text).toMatch(/^PRI \* HTTP\/2\.0/);
    expect(text).not.toContain('secret');
  });

  test.each([
    ['speaks HTTP/1.1', 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'],
    ['speaks something else', '220 hello\r\n'],
    ['closes without a word', ''],
  ])('that %s is 502', async (_what, text) => {
    const other = await beside(await startTcp((socket) => socket.once('data', () => socket.end(text))));
    expect(await problemOf(await send(`${other.url}/x`))).toEqual([502, 'upstream-unreachable']);
  });

  test('that is not there is passed over where there is another', async () => {
    const { url: there } = await startServer({}, async (stream) => {
      const body = Buffer.concat(await stream.toArray());
      stream.respond({ ':status': 200 });
      stream.end(`read: ${body}`);
    });
    const other = await beside('http://127.0.0.1:1', there);
    for (let round = 0; round < 4; round++) {
      const answer = await send(`${other.url}/x`, { method: 'POST', body: 'once' });
      expect([answer.status, await answer.text()]).toEqual([200, 'read: once']);
    }
  });

  test('whose answer never came gets further requests on another connection', async () => {
    onStream = () => {};
    expect((await send(url('/short/x'))).status).toBe(504);
    onStream = ok;
    expect((await send(url('/x'))).status).toBe(200);
    expect(sessions.length).toBe(2);
  });
});

test('a WebSocket is refused in so many words, and the service hears nothing of it', async () => {
  const before = streams;
  const request = open(url('/socket'), 'GET', {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'x3JJHMbDL1EzLkh9GBhXDw==',
  }).end();
  const response: IncomingMessage = await answerTo(request);
  const problem = JSON.parse(Buffer.concat(await response.toArray()).toString()) as { code: string };
  expect([response.statusCode, problem.code]).toEqual([501, 'websocket-unsupported']);
  expect(streams).toBe(before);
});
