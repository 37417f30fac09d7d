// One connection to a server that says exactly what a test wants, in the pieces it wants.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { buildConnector } from 'undici';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Http1Connection } from '../../src/forwarding/http1-connection.ts';
import { announce } from '../../src/forwarding/identity-headers.ts';
import { report } from '../support/figures.ts';
import { scale, UNHURRIED } from '../support/scale.ts';

/** What the server does with a connection once a request has come. */
let serve: (socket: Socket, head: string) => void;
let port = 0;
const server = createServer({ noDelay: true }, (socket) => {
  let head = '';
  socket.on('error', () => {});
  socket.on('data', (data) => {
    head += data.toString('latin1');
    if (!head.includes('\r\n\r\n')) return;
    serve(socket, head);
    head = '';
  });
});
const opened = new Set<Http1Connection>();

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  for (const connection of opened) connection.destroy();
  server.close();
});

function open(): Http1Connection {
  const connect = buildConnector({ timeout: 2000 });
  const to = { hostname: '127.0.0.1', host: '127.0.0.1', protocol: 'http:', port: String(port) };
  const connection = new Http1Connection(
    (done) => connect(to, done),
    () => opened.delete(connection),
  );
  opened.add(connection);
  return connection;
}

interface Told {
  status: number;
  headers: readonly string[];
  body: string;
  outcome: 'complete' | 'upgraded' | 'failed';
  error?: Error;
}

interface Wishes {
  readonly method?: string;
  readonly headers?: readonly string[];
  readonly identity?: readonly string[];
  readonly isUpgrade?: boolean;
  /** Takes each piece only after so many milliseconds. */
  readonly slowMs?: number;
  /** Given what ends the exchange. */
  readonly onAbortable?: (abort: () => void) => void;
}

function ask(connection: Http1Connection, wishes: Wishes = {}): Promise<Told> {
  const { method = 'GET', headers = [], identity = [], isUpgrade = false, slowMs } = wishes;
  const told: Told = { status: 0, headers: [], body: '', outcome: 'failed' };
  return new Promise((resolve) => {
    let goOn = () => {};
    let isWanted = true;
    const take = () => {
      expect(isWanted, 'nothing comes while nothing is wanted').toBe(true);
      if (slowMs === undefined) return true;
      isWanted = false;
      setTimeout(() => {
        isWanted = true;
        goOn();
      }, slowMs);
      return false;
    };
    const end = (outcome: Told['outcome'], error?: Error) => resolve({ ...told, outcome, error });
    const abort = connection.send(
      {
        method,
        path: '/x',
        headers: ['host', 'a', ...headers],
        identity: announce(identity),
        body: null,
        isUpgrade,
      },
      {
        onSending: () => true,
        onAnswering() {},
        onHeaders(status, rawHeaders, resume) {
          expect(told.status, 'one head').toBe(0);
          told.status = status;
          told.headers = [...rawHeaders];
          goOn = resume;
          return take();
        },
        onData(chunk) {
          told.body += chunk.toString('latin1');
          return take();
        },
        onComplete: () => end('complete'),
        onUpgrade: (rawHeaders, socket) => {
          told.status = 101;
          told.headers = [...rawHeaders];
          socket.once('data', (data) => {
            told.body = data.toString('latin1');
            socket.destroy();
            end('upgraded');
          });
          socket.resume();
        },
        onError: (error) => end('failed', error),
      },
    );
    wishes.onAbortable?.(() => abort(new Error('Nobody waits for it')));
  });
}

const says = (text: string) => {
  serve = (socket) => void socket.write(text, 'latin1');
};

test('carries one request after the other', async () => {
  const connection = open();
  serve = (socket, head) => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${head.slice(0, 2)}`);
  for (const method of ['GET', 'POST', 'DELETE']) {
    expect(await ask(connection, { method })).toMatchObject({ status: 200, body: method.slice(0, 2) });
    expect(connection.isUsable).toBe(true);
  }
});

test('whoever has had an answer cannot end, nor hurry, the next one', async () => {
  const connection = open();
  says('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  let abort = () => {};
  await ask(connection, {
    onAbortable(abortFirst) {
      abort = abortFirst;
    },
  });
  serve = (socket) => {
    abort();
    setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno'), 20);
  };
  expect(await ask(connection)).toMatchObject({ outcome: 'complete', body: 'no' });
  expect(connection.isUsable).toBe(true);
});

test('an identity stands behind the other headers', async () => {
  const connection = open();
  serve = (socket, head) =>
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`, 'latin1');
  const identity = ['X-Forwarded-User', 'user-1', 'Authorization', 'Bearer caf\u00e9'];
  for (const headers of [['X-A', '1'], []]) {
    const { body } = await ask(connection, { headers, identity });
    const own = headers.length > 0 ? 'X-A: 1\r\n' : '';
    expect(body).toBe(
      `GET /x HTTP/1.1\r\nhost: a\r\n${own}X-Forwarded-User: user-1\r\nAuthorization: Bearer caf\u00e9\r\nConnection: keep-alive\r\n\r\n`,
    );
  }
});

test('interim answers are passed over, however many', async () => {
  const interim = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';
  says(`${interim.repeat(50)}HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n`);
  expect(await ask(open())).toMatchObject({ outcome: 'complete', status: 204, headers: ['X', '1'] });
});

test.each([
  [
    'a second answer',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil',
  ],
  ['a body longer than its length', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore'],
  [
    'bytes behind the last chunk',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200',
  ],
  ['an end of the line too much', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n'],
])('%s behind the answer reaches nobody, and the connection is used no more', async (_name, text) => {
  const connection = open();
  says(text);
  expect(await ask(connection)).toMatchObject({ outcome: 'complete', status: 200, body: 'ok' });
  expect(connection.isUsable).toBe(false);
});

test.each([
  ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n'],
  ['GET', 'HTTP/1.1 204 No Content\r\nContent-Length: 43\r\n\r\n'],
  ['GET', 'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n'],
])(
  'behind an answer to %s that has no body, but speaks of one, nothing more is asked: %j',
  async (method, head) => {
    const connection = open();
    serve = (socket) => {
      socket.write(head);
      setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'), 20);
    };
    expect(await ask(connection, { method })).toMatchObject({ outcome: 'complete', body: '' });
    expect(connection.isUsable).toBe(false);
  },
);

test('what is given up while the connection opens is never sent', async () => {
  let received = '';
  serve = (_socket, head) => {
    received += head;
  };
  const connection = open();
  const told = ask(connection, { onAbortable: (abort) => abort() });
  expect(await told).toMatchObject({ outcome: 'failed', error: { message: 'Nobody waits for it' } });
  await sleep(50);
  expect([received, connection.isUsable, opened.has(connection)]).toEqual(['', false, false]);
});

test('what comes while nobody has asked ends the connection', async () => {
  const connection = open();
  serve = (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'), 50);
  };
  await ask(connection);
  expect(connection.isUsable).toBe(true);
  await expect.poll(() => connection.isUsable).toBe(false);
  expect(opened.has(connection)).toBe(false);
});

test.each([
  ['no HTTP', 'SSH-2.0-OpenSSH\r\n\r\n'],
  ['no HTTP, and no end of it', 'SSH-2.0-OpenSSH\r\n'],
  ['line ends without CR', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok'],
  ['two framings', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['chunks that are none', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n'],
  ['a protocol nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n'],
  ['a head without end', `HTTP/1.1 200 OK\r\n${'X: 1234567890\r\n'.repeat(6000)}`],
])('%s fails, and the connection with it', async (_name, text) => {
  const connection = open();
  says(text);
  expect(await ask(connection)).toMatchObject({ outcome: 'failed', error: expect.any(Error) });
  expect(connection.isUsable).toBe(false);
});

test.each([
  ['within the head', 'HTTP/1.1 200 OK\r\nContent-', 0],
  ['within the body', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok', 200],
  ['within a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok', 200],
  ['before the last chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n', 200],
  ['within the trailers', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n', 200],
])('an answer that is cut %s fails', async (_name, text, status) => {
  serve = (socket) => socket.end(text);
  const told = await ask(open());
  expect(told).toMatchObject({ outcome: 'failed', status, error: { code: 'UND_ERR_SOCKET' } });
});

test('without framing the body ends with the connection, also for who takes his time', async () => {
  serve = (socket) => socket.end(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(300_000)}`);
  for (const slowMs of [undefined, 1]) {
    const connection = open();
    const { outcome, body } = await ask(connection, { slowMs });
    expect([outcome, body.length]).toEqual(['complete', 300_000]);
    expect(connection.isUsable).toBe(false);
  }
});

test('after a WebSocket handshake the bytes behind it are the first of the socket', async () => {
  says('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst');
  expect(await ask(open(), { isUpgrade: true })).toMatchObject({
    outcome: 'upgraded',
    status: 101,
    body: 'first',
  });
});

test('a handshake that is refused is an answer like any other', async () => {
  says('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
  expect(await ask(open(), { isUpgrade: true })).toMatchObject({
    outcome: 'complete',
    status: 403,
    body: 'no',
  });
});

test.each(['a\r\nX-Injected: 1', 'a\nb', 'a\0b', 'caf\u00e9\u010a', '\u{1f600}'])(
  'a value that would not stay in its line is not sent: %j',
  async (value) => {
    let received = '';
    serve = (_socket, head) => {
      received += head;
    };
    for (const wishes of [{ headers: ['X-Name', value] }, { identity: ['X-Name', value] }]) {
      const { outcome, error } = await ask(open(), wishes);
      expect([outcome, (error as NodeJS.ErrnoException).code]).toEqual(['failed', 'UND_ERR_INVALID_ARG']);
    }
    await sleep(20);
    expect(received).toBe('');
  },
);

test(
  'whatever the answer, and the pieces it comes in, it is told as it was meant',
  UNHURRIED,
  async (context) => {
    const connection = { current: open() };
    let tried = 0;
    await fc.assert(
      fc.asyncProperty(
        anAnswer,
        fc.array(fc.nat(600), { maxLength: 6 }),
        fc.boolean(),
        async (answer, cuts, isSlow) => {
          if (!connection.current.isUsable && tried > 0) connection.current = open();
          tried++;
          serve = (socket) =>
            void sendInPieces(socket, Buffer.from(answer.text, 'latin1'), cuts, answer.closes);
          const told = await ask(connection.current, {
            method: answer.method,
            slowMs: isSlow ? 0 : undefined,
          });
          expect(told).toMatchObject({ outcome: 'complete', status: answer.status, body: answer.body });
          expect(connection.current.isUsable).toBe(answer.keeps);
        },
      ),
      { numRuns: scale({ quick: 300, full: 10_000 }) },
    );
    report(context, { answers: tried });
  },
);

const anAnswer = fc
  .record({
    status: fc.constantFrom(200, 201, 204, 301, 304, 404, 500),
    method: fc.constantFrom('GET', 'HEAD', 'POST'),
    framing: fc.constantFrom('length', 'chunked', 'close'),
    parts: fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 60 }), { maxLength: 5 }),
    interim: fc.boolean(),
  })
  .map(({ status, method, framing, parts, interim }) => {
    const hasBody = method !== 'HEAD' && status !== 204 && status !== 304;
    const body = parts.join('');
    const chunked = parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('');
    const [field, sent] = {
      length: [`Content-Length: ${body.length}\r\n`, body],
      chunked: ['Transfer-Encoding: chunked\r\n', `${chunked}0\r\n\r\n`],
      close: ['Connection: close\r\n', body],
    }[framing] as [string, string];
    const before = interim ? 'HTTP/1.1 102 Processing\r\n\r\n' : '';
    const text = `${before}HTTP/1.1 ${status} X\r\nA: b\r\n${field}\r\n${hasBody ? sent : ''}`;
    const closes = framing === 'close';
    // Where a body must not come, one that is announced may come all the same.
    const isAnnounced = framing === 'chunked' || body.length > 0;
    const keeps = !closes && method !== 'HEAD' && (hasBody || !isAnnounced);
    return { status, method, text, body: hasBody ? body : '', closes, keeps };
  });

async function sendInPieces(socket: Socket, bytes: Buffer, cuts: readonly number[], closes: boolean) {
  const at = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
  for (const [piece, end] of at.slice(1).entries()) {
    socket.write(bytes.subarray(at[piece], end));
    await new Promise(setImmediate);
  }
  if (closes) socket.end();
}
