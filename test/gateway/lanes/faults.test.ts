// When a client goes or a service fails: the same cases over each transport.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { report } from '../../support/figures.ts';
import { send } from '../../support/send.ts';
import { TRANSPORTS } from '../../support/transports.ts';
import { answerTo, closeOf, contract, type Lane, type Lanes, open, startLanes } from './lanes.ts';

let lanes: Lanes;

beforeAll(async () => {
  lanes = await startLanes();
});
afterEach(() => lanes.quiet());
afterAll(() => lanes?.close());

describe.each(TRANSPORTS)('over %s', (name) => {
  let lane: Lane;
  beforeAll(() => {
    lane = lanes.of(name);
  });

  describe('a client that goes', () => {
    const goneWhile = async (
      path: string,
      method: string,
      headers: Record<string, string>,
      begin: string | null,
    ) => {
      const arriving = Promise.withResolvers<{ closed: Promise<void>; request: IncomingMessage }>();
      lane.respond((request, response) => {
        const closed = new Promise<void>((resolve) => response.once('close', resolve));
        // A server that does not read does not hear of the end either.
        request.on('error', () => {}).resume();
        arriving.resolve({ closed, request });
        if (begin !== null) response.write(begin);
      });
      const request = open(lane.url(path), method, headers);
      if (method === 'POST') request.write('half a body');
      else request.end();
      if (begin !== null) await once(await answerTo(request), 'data');
      const { closed, request: upstreamRequest } = await arriving.promise;
      const goneAt = performance.now();
      request.destroy();
      await closed;
      return { ms: performance.now() - goneAt, request: upstreamRequest };
    };

    contract('before the answer, within it, or within its body is felt by the service at once', async () => {
      await goneWhile('/silent', 'GET', {}, null);
      await goneWhile('/begun', 'GET', {}, 'begun');
      const upload = { 'transfer-encoding': 'chunked' };
      const { request } = await goneWhile('/upload', 'POST', upload, null);
      // What is cut looks cut: no service takes half a body for a whole one.
      expect(request.complete && !request.aborted).toBe(false);
      lane.respond(undefined);
      expect((await send(lane.url('/after'))).status).toBe(200);
    });
  });

  describe('a service that fails', () => {
    contract('within its answer: the client sees that it is cut, and the process lives', async () => {
      const ways: [string, (response: ServerResponse) => void][] = [
        ['ends the exchange', (response) => response.destroy()],
        ['resets the connection', () => lane.resetConnections()],
      ];
      for (const headers of [{}, { 'content-length': '1000' }] as Record<string, string>[])
        for (const [way, fail] of ways) {
          let cut = () => {};
          lane.respond((_request, response) => {
            response.writeHead(200, headers);
            response.write('begun');
            cut = () => fail(response);
          });
          const response = await answerTo(open(lane.url('/cut')).end());
          await once(response, 'data');
          cut();
          await closeOf(response);
          expect([way, headers, response.complete]).toEqual([way, headers, false]);
        }
      lane.respond(undefined);
      expect((await send(lane.url('/after'))).status).toBe(200);
    });

    contract('before its answer: 502 in fixed words, and nothing is sent again', async () => {
      for (const method of ['POST', 'PUT']) {
        const before = lane.requests;
        lane.respond((request) => {
          request.resume();
          lane.resetConnections();
        });
        const response = await send(lane.url('/reset'), {
          method,
          body: 'body',
        });
        const problem = (await response.json()) as Record<string, unknown>;
        expect([response.status, problem.code]).toEqual([502, 'upstream-broken']);
        expect(JSON.stringify(problem)).not.toMatch(/127\.0\.0\.1|ECONN|\.sock|localhost/);
        expect(lane.requests).toBe(before + 1);
      }
    });

    contract('by its own 503: that is the answer, asked for once', async () => {
      const before = lane.requests;
      lane.respond((_request, response) => response.writeHead(503, { 'retry-after': '120' }).end('busy'));
      const response = await send(lane.url('/busy'));
      expect([response.status, response.headers.get('retry-after'), await response.text()]).toEqual([
        503,
        '120',
        'busy',
      ]);
      expect(lane.requests).toBe(before + 1);
    });

    contract('to answer in time is 504, and told to stop', async () => {
      const closed = Promise.withResolvers<void>();
      lane.respond((_request, response) => {
        response.once('close', () => closed.resolve());
      });
      const response = await send(lane.url('/silent', 'limited'));
      expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([
        504,
        'upstream-timeout',
      ]);
      await closed.promise;
    });

    contract('to go on with its answer is cut after the idle limit', async () => {
      const closed = Promise.withResolvers<void>();
      lane.respond((_request, response) => {
        response.once('close', () => closed.resolve());
        response.write('begun');
      });
      const response = await answerTo(open(lane.url('/stuck', 'limited')).end());
      await closeOf(response);
      expect(response.complete).toBe(false);
      await closed.promise;
    });
  });

  contract('what the request log says is one line a request, and no address of the service', async () => {
    lane.respond(() => lane.resetConnections());
    const before = lanes.gateway.logLines().length;
    const response = await send(lane.url('/logged'));
    const id = response.headers.get('x-request-id');
    await expect
      .poll(() =>
        lanes.gateway
          .logLines()
          .slice(before)
          .some((line) => line.includes(String(id))),
      )
      .toBe(true);
    const lines = lanes.gateway
      .logLines()
      .slice(before)
      .filter((line) => line.includes(String(id)));
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] as string)).toMatchObject({
      status: 502,
      reason: 'upstream-broken',
      upstream: name,
    });
  });
});

test('every case is run over every transport', (context) => {
  report(context, { cases: contract.titles.size, transports: TRANSPORTS.length });
  expect(contract.titles.size).toBeGreaterThan(6);
});
