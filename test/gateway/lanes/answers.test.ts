// What of an answer reaches the client, and bodies both ways: the same cases over each transport.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cookieHeader, signInWithToken } from '../../support/browser-like.ts';
import { report } from '../../support/figures.ts';
import { send, sendRaw } from '../../support/send.ts';
import { TRANSPORTS } from '../../support/transports.ts';
import {
  answerTo,
  bytesOf,
  contract,
  type Lane,
  type Lanes,
  open,
  startLanes,
  textOf,
  valuesOf,
} from './lanes.ts';

let lanes: Lanes;

beforeAll(async () => {
  lanes = await startLanes();
});
afterEach(() => lanes.quiet());
afterAll(() => lanes?.close());

const MIB = 1024 * 1024;
const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

describe.each(TRANSPORTS)('over %s', (name) => {
  let lane: Lane;
  beforeAll(() => {
    lane = lanes.of(name);
  });

  describe('bodies', () => {
    const sizes = [0, 1, 65_537, 2 * MIB + 17];
    contract('of every size and type come back as they went, with a length and in chunks', async () => {
      lane.respond(async (request, response) => {
        const body = await bytesOf(request);
        response.setHeader('content-type', String(request.headers['content-type'] ?? 'x/y'));
        response.setHeader('x-hash', hashOf(body));
        if (request.url?.includes('length')) response.setHeader('content-length', body.length);
        response.end(body);
      });
      for (const size of sizes)
        for (const framing of ['length', 'chunked']) {
          const bytes = randomBytes(size);
          const headers: Record<string, string> = { 'content-type': 'text/plain; charset=utf-8' };
          if (framing === 'length') headers['content-length'] = String(size);
          else headers['transfer-encoding'] = 'chunked';
          const request = open(lane.url(`/${framing}`), 'POST', headers);
          request.end(bytes);
          const response = await answerTo(request);
          const back = await bytesOf(response);
          expect([size, response.headers['x-hash'], hashOf(back)]).toEqual([
            size,
            hashOf(bytes),
            hashOf(bytes),
          ]);
          expect(response.complete).toBe(true);
        }
    });

    contract('that nobody reads make the gateway stop reading', async () => {
      const taken = Promise.withResolvers<IncomingMessage>();
      lane.respond((request, response) => {
        taken.resolve(request.pause());
        request.once('end', () => response.end('read'));
      });
      const request = open(lane.url('/slow'), 'POST', { 'transfer-encoding': 'chunked' });
      let sent = 0;
      const chunk = Buffer.alloc(256 * 1024);
      const answering = answerTo(request);
      for (; sent < 64 * MIB; sent += chunk.length) {
        if (request.write(chunk)) continue;
        const drained = await Promise.race([once(request, 'drain'), sleep(300, null)]);
        if (drained === null) break;
      }
      expect(sent).toBeLessThan(32 * MIB);
      request.end();
      (await taken.promise).resume();
      expect(await textOf(await answering)).toBe('read');
    });

    contract('that the client does not read make the service stop writing', async () => {
      let sent = 0;
      const stopped = Promise.withResolvers<void>();
      lane.respond(async (_request, response) => {
        const chunk = Buffer.alloc(256 * 1024);
        for (; sent < 64 * MIB; sent += chunk.length) {
          if (response.write(chunk)) continue;
          if ((await Promise.race([once(response, 'drain'), sleep(300, null)])) === null) break;
        }
        stopped.resolve();
        response.end();
      });
      const response = await answerTo(open(lane.url('/slow')).end());
      response.pause();
      await stopped.promise;
      expect(sent).toBeLessThan(32 * MIB);
      expect((await bytesOf(response)).length).toBeGreaterThanOrEqual(sent);
      expect(response.complete).toBe(true);
    });
  });

  describe('an answer', () => {
    contract('keeps its repeated headers, their order, and bytes beyond ASCII', async () => {
      const cookies = Array.from(
        { length: 20 },
        (_, at) => `c${at}=${at}; Path=/; Expires=Wed, 21 Oct 2037 07:28:00 GMT`,
      );
      lane.respond((_request, response) => {
        const more = { 'x-name': 'J\xf6rg \xe2\x82\xac', 'content-type': 'a/b;' };
        response.writeHead(200, { 'set-cookie': cookies, 'x-many': ['1', '2'], ...more }).end('x');
      });
      const { headers } = await sendRaw(lane.url('/x'));
      expect(valuesOf(headers, 'set-cookie')).toEqual(cookies);
      expect(valuesOf(headers, 'x-many')).toEqual(['1', '2']);
      expect(valuesOf(headers, 'x-name')).toEqual(['J\xf6rg \xe2\x82\xac']);
      expect(valuesOf(headers, 'content-type')).toEqual(['a/b;']);
    });

    contract('loses what is the gateway’s to say', async () => {
      lane.respond((_request, response) => {
        const cookies = ['better-auth.session_token=evil', 'kept=1', '__Secure-better-auth.state=x'];
        response.setHeader('set-cookie', cookies);
        response.setHeader('x-request-id', 'forged');
        response.setHeader('x-gateway-intercepted-response', 'true');
        response.setHeader('x-github-status', '401');
        response.setHeader('clear-site-data', '"cookies", "cache"');
        response.end();
      });
      const { headers } = await sendRaw(lane.url('/x'));
      expect(valuesOf(headers, 'set-cookie')).toEqual(['kept=1']);
      expect(valuesOf(headers, 'x-request-id').join()).toMatch(/^[0-9a-f-]{36}$/);
      expect(valuesOf(headers, 'clear-site-data')).toEqual(['"cache"']);
      const names = headers.map((each) => each.toLowerCase());
      expect(names).not.toContain('x-gateway-intercepted-response');
      expect(names).not.toContain('x-github-status');
    });

    contract('leads back through the gateway where it names the service’s own address', async () => {
      lane.respond((request, response) => {
        const host = request.headers[':authority'] ?? request.headers.host;
        const scheme = name === 'https1' || name === 'h2' ? 'https' : 'http';
        response.writeHead(302, { location: `${scheme}://${host}/next?x=1` }).end();
      });
      expect((await send(lane.url('/x'))).headers.get('location')).toBe(`/${name}/public/next?x=1`);
    });

    contract('of any status comes through, without a body where there is none', async () => {
      for (const status of [200, 201, 204, 205, 206, 301, 304, 400, 401, 404, 418, 429, 500, 502, 503, 599]) {
        lane.respond((_request, response) => response.writeHead(status, { etag: '"1"' }).end());
        const { status: got, headers, body } = await sendRaw(lane.url('/status'));
        expect([got, valuesOf(headers, 'etag'), body.length]).toEqual([status, ['"1"'], 0]);
      }
      for (const [method, status] of [
        ['HEAD', 200],
        ['HEAD', 404],
        ['GET', 304],
      ] as const) {
        lane.respond((_request, response) => response.writeHead(status, { 'content-length': '77' }).end());
        const { status: got, headers, body } = await sendRaw(lane.url('/head'), { method });
        expect([got, valuesOf(headers, 'content-length'), body.length]).toEqual([status, ['77'], 0]);
      }
    });

    contract('of 300 headers comes through', async () => {
      lane.respond((_request, response) => {
        for (let at = 0; at < 300; at++) response.setHeader(`x-number-${at}`, String(at));
        response.end();
      });
      const { headers } = await sendRaw(lane.url('/many'));
      expect(headers.filter((each) => each.startsWith('x-number-'))).toHaveLength(300);
    });

    contract('loses its trailers, and what came before it', async () => {
      lane.respond((_request, response) => {
        response.writeEarlyHints({ link: '</style.css>; rel=preload' });
        response.setHeader('trailer', 'X-Sum');
        response.write('ok');
        response.addTrailers({ 'x-sum': '1' });
        response.end();
      });
      const response = await answerTo(open(lane.url('/trailers')).end());
      expect([await textOf(response), response.trailers, response.headers.trailer]).toEqual([
        'ok',
        {},
        undefined,
      ]);
      expect(response.headers.link).toBeUndefined();
      expect(response.complete).toBe(true);
    });

    contract('that comes before the upload has ended is delivered', async () => {
      lane.respond((_request, response) => {
        response.writeHead(409).end('enough');
      });
      const request = open(lane.url('/early'), 'POST', { 'transfer-encoding': 'chunked' });
      request.write('begun');
      const response = await answerTo(request);
      expect([response.statusCode, await textOf(response)]).toEqual([409, 'enough']);
      expect((await send(lane.url('/after'))).status).toBe(409);
    });

    contract('is the answer to its own request, 50 at a time', async () => {
      lane.respond((request, response) => {
        setTimeout(() => response.end(request.url), Math.random() * 20);
      });
      const answers = await Promise.all(
        Array.from({ length: 50 }, async (_, at) => (await send(lane.url(`/own/${at}`))).text()),
      );
      expect(answers).toEqual(Array.from({ length: 50 }, (_, at) => `/own/${at}`));
    });
  });

  describe('an event stream', () => {
    contract('passes its head and each event at once, and is not cut by the limit of answers', async () => {
      const stream = Promise.withResolvers<(text: string) => void>();
      lane.respond((_request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        // So that the head is sent, by whichever server.
        response.flushHeaders();
        stream.resolve((text) => void response.write(text));
      });
      const response = await answerTo(open(lane.url('/events', 'limited')).end());
      expect(response.headers['content-type']).toBe('text/event-stream');
      const say = await stream.promise;
      for (let at = 0; at < 5; at++) {
        // Longer than the route's limit for other answers.
        if (at === 2) await sleep(700);
        const arriving = once(response, 'data');
        say(`data: ${at}\n\n`);
        expect(String((await arriving)[0])).toBe(`data: ${at}\n\n`);
      }
    });
  });
});

test('event streams over every transport end with their session, and tell why', async () => {
  const own = await signInWithToken(lanes.gateway);
  const headers = { cookie: cookieHeader(own.cookies) };
  const reading = TRANSPORTS.map(async (name) => {
    const lane = lanes.of(name);
    const closed = Promise.withResolvers<void>();
    lane.respond((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: 1\n\n');
      response.once('close', () => closed.resolve());
    });
    const response = await answerTo(open(lane.url('/stream', 'events'), 'GET', headers).end());
    const text = textOf(response);
    return { name, text: Promise.all([text, closed.promise]).then(([first]) => first) };
  });
  const streams = await Promise.all(reading);
  await own.curl('/api/auth/sign-out', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  for (const { name, text } of streams)
    expect(`${name}: ${await text}`).toMatch(
      /: data: 1\n\nevent: gateway\ndata: \{"code":"session-[a-z]+"\}\n\n$/,
    );
});

test('every case is run over every transport', (context) => {
  report(context, { cases: contract.titles.size, transports: TRANSPORTS.length });
  expect(contract.titles.size).toBeGreaterThan(10);
});
