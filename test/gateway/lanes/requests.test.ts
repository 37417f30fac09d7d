// What of a request reaches the service: the same cases over each transport.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Client, signInWithToken } from '../../support/browser-like.ts';
import { report } from '../../support/figures.ts';
import { send } from '../../support/send.ts';
import { TRANSPORTS } from '../../support/transports.ts';
import { answerTo, contract, type Lane, type Lanes, open, startLanes, textOf, valuesOf } from './lanes.ts';

let lanes: Lanes;
let client: Client;

beforeAll(async () => {
  lanes = await startLanes();
  client = await signInWithToken(lanes.gateway);
});
afterEach(() => lanes.quiet());
afterAll(() => lanes?.close());

interface Echo {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly rawHeaders: string[];
}

const echoOf = async (response: Response) => (await response.json()) as Echo;

describe.each(TRANSPORTS)('over %s', (name) => {
  let lane: Lane;
  beforeAll(() => {
    lane = lanes.of(name);
  });

  describe('a request', () => {
    contract('arrives at the path that was judged, byte for byte', async () => {
      const paths = [
        '/',
        '/..hidden/...more',
        '/%41%7b"{}|^`<>%5E',
        "/!$&'()*+,=:@",
        '/%C3%A9?a=%2e%2e/../x&b="c"&?d=//e&f',
        '/x?',
        '/%23?#'.slice(0, -1),
        `/${'long/'.repeat(1500)}`,
      ];
      for (const path of paths) {
        const { url } = await echoOf(await send(lane.url(path)));
        expect(url).toBe(path);
      }
    });

    contract('keeps its method', async () => {
      for (const method of [
        'GET',
        'POST',
        'PUT',
        'PATCH',
        'DELETE',
        'OPTIONS',
        'PROPFIND',
        'QUERY',
        'M-SEARCH',
      ])
        expect((await echoOf(await send(lane.url('/m'), { method }))).method).toBe(method);
    });

    contract('loses what was meant for one connection, and what its Connection names', async () => {
      const headers = {
        connection: 'close, X-Named, X-Forwarded-User, x-request-id',
        'keep-alive': 'timeout=5',
        'proxy-connection': 'keep-alive',
        'proxy-authorization': 'Basic eA==',
        te: 'trailers, deflate',
        upgrade: 'h2c',
        'http2-settings': 'AAMAAABkAAQAAP__',
        'x-named': 'gone',
        'x-kept': 'kept',
      };
      const { headers: seen } = await echoOf(await client.curl(`/${name}/session/x`, { headers }));
      expect(seen['x-kept']).toBe('kept');
      expect(seen['x-forwarded-user']).toBeTruthy();
      expect(seen['x-request-id']).toBeTruthy();
      const gone = Object.keys(headers).filter((each) => each !== 'x-kept' && each !== 'connection');
      expect(gone.filter((each) => each in seen)).toEqual([]);
      // Of the gateway's own connection, where there is one.
      expect(['keep-alive', undefined]).toContain(seen.connection);
    });

    contract('cannot speak for anybody: every spelling of an identity header is the gateway’s', async () => {
      const forged = ['X-Forwarded-User', 'x_forwarded_user', 'X.Forwarded-User', 'X-Forwarded-Access-Token'];
      const more = [
        'X-Gateway-Session',
        'x_gateway_scopes',
        'Remote-User',
        'X-Auth-Request-Email',
        'Forwarded',
      ];
      const headers = [...forged, ...more].flatMap((each) => [each, 'forged', each, 'twice']);
      const anonymous = await echoOf(await send(lane.url('/x'), { headers }));
      expect(anonymous.rawHeaders.join()).not.toMatch(/forged|twice/);
      const own = await echoOf(
        await client.curl(`/${name}/session/x`, {
          headers: Object.fromEntries([...forged, ...more].map((each) => [each, 'forged'])),
        }),
      );
      expect(own.rawHeaders.join()).not.toContain('forged');
      expect(valuesOf(own.rawHeaders, 'x-forwarded-user')).toHaveLength(1);
      expect(own.headers['x-forwarded-preferred-username']).toBe('octocat');
      expect(own.headers['x-forwarded-access-token']).toMatch(/^ghp_/);
    });

    contract('cannot set pseudo headers: names with a colon are refused before they are sent', async () => {
      const { host, hostname, port } = new URL(lane.url('/'));
      for (const pseudo of [':method: DELETE', ':path: /admin', ':authority: evil', ':scheme: https']) {
        const before = lane.requests;
        const socket = connect(Number(port), hostname);
        socket.write(`GET /${name}/public/x HTTP/1.1\r\nHost: ${host}\r\n${pseudo}\r\n\r\n`);
        const answer = Buffer.concat(await socket.toArray()).toString();
        expect(answer).toMatch(/^HTTP\/1\.1 400 /);
        expect(lane.requests).toBe(before);
      }
    });

    contract('whose answer says that GitHub refused is asked about, and answered all the same', async () => {
      for (const body of ['', 'x'.repeat(200_000)])
        for (const status of [200, 403]) {
          lane.respond((_request, response) => {
            response.writeHead(status, { 'x-github-status': '403' }).end(body);
          });
          const response = await client.curl(`/${name}/session/x`);
          expect([response.status, (await response.text()).length]).toEqual([status, body.length]);
          expect(response.headers.has('x-github-status')).toBe(false);
        }
    });

    contract('keeps its own cookies, in order, and none of the gateway’s', async () => {
      const { headers } = await echoOf(
        await send(lane.url('/x'), {
          headers: {
            cookie:
              'a=1; better-auth.session_token=secret; b="2 3"; __Secure-better-auth.session_data=x; a=4',
          },
        }),
      );
      expect(headers.cookie).toBe('a=1; b="2 3"; a=4');
    });

    contract('keeps repeated headers and bytes beyond ASCII', async () => {
      const headers = [
        'X-Many',
        '1',
        'Accept',
        'a',
        'x-many',
        '2',
        'X-Name',
        'J\xf6rg \xe2\x82\xac',
        'Date',
        'x',
      ];
      const { rawHeaders } = await echoOf(
        await send(lane.url('/x'), { headers: [...headers, 'Range', 'a', 'Range', 'b'] }),
      );
      expect(valuesOf(rawHeaders, 'x-many')).toEqual(['1', '2']);
      expect(valuesOf(rawHeaders, 'range')).toEqual(['a', 'b']);
      expect(valuesOf(rawHeaders, 'x-name')).toEqual(['J\xf6rg \xe2\x82\xac']);
    });

    contract('of 24 KB of headers arrives', async () => {
      const headers = Object.fromEntries(
        Array.from({ length: 60 }, (_, at) => [`x-long-${at}`, 'y'.repeat(400)]),
      );
      const seen = (await echoOf(await send(lane.url('/x'), { headers }))).headers;
      expect(Object.keys(seen).filter((each) => each.startsWith('x-long-'))).toHaveLength(60);
    });

    contract('keeps its body whatever the method: GET, HEAD and DELETE too', async () => {
      lane.respond(async (request, response) => {
        const body = await textOf(request);
        response.writeHead(200, { 'x-body': body }).end();
      });
      for (const framing of [{ 'content-length': '4' }, { 'transfer-encoding': 'chunked' }] as Record<
        string,
        string
      >[])
        for (const method of ['GET', 'HEAD', 'DELETE', 'OPTIONS', 'QUERY', 'PROPFIND']) {
          const request = open(lane.url('/body'), method, framing);
          request.write('ke');
          request.end('pt');
          const response = await answerTo(request);
          expect([method, response.statusCode, response.headers['x-body']]).toEqual([method, 200, 'kept']);
        }
    });

    contract('keeps its length and type as they are, odd ones too', async () => {
      for (const type of ['text/plain; charset=latin1', 'a/b;', 'APPLICATION/JSON', 'nonsense', '', null]) {
        const { headers } = await echoOf(
          await send(lane.url('/type'), {
            method: 'POST',
            body: '{"not": json',
            headers: type === null ? {} : { 'content-type': type },
          }),
        );
        expect([headers['content-type'] ?? null, headers['content-length']]).toEqual([type, '12']);
      }
    });

    contract('that expects 100 is told to go on, and its body arrives', async () => {
      lane.respond(async (request, response) => {
        response.end(JSON.stringify([request.headers.expect ?? null, await textOf(request)]));
      });
      const request = open(lane.url('/continue'), 'POST', { expect: '100-continue', 'content-length': '4' });
      request.flushHeaders();
      await once(request, 'continue');
      request.end('body');
      expect(JSON.parse(await textOf(await answerTo(request)))).toEqual([null, 'body']);
    });

    contract('whose body comes late is there before it', async () => {
      const arriving = Promise.withResolvers<void>();
      lane.respond(async (request, response) => {
        arriving.resolve();
        response.end(await textOf(request));
      });
      const request = open(lane.url('/late'), 'POST', { 'transfer-encoding': 'chunked' });
      request.flushHeaders();
      await arriving.promise;
      request.end('late');
      expect(await textOf(await answerTo(request))).toBe('late');
    });

    contract('larger than its route allows is 413, with a length and without', async () => {
      lane.respond((request, response) => {
        request.resume().once('end', () => response.end());
      });
      const announced = await send(lane.url('/x', 'limited'), { method: 'POST', body: 'x'.repeat(1025) });
      expect(announced.status).toBe(413);
      const request = open(lane.url('/x', 'limited'), 'POST', { 'transfer-encoding': 'chunked' });
      request.end('x'.repeat(5000));
      expect((await answerTo(request)).statusCode).toBe(413);
    });
  });
});

test('every case is run over every transport, and the README lists at most five differences', (context) => {
  const readme = readFileSync(join(import.meta.dirname, '../../../README.md'), 'utf8');
  const section = readme.split('\n## HTTP/2 and Unix sockets\n')[1]?.split('\n## ')[0] ?? '';
  const differences = section.match(/^\d+\. /gm)?.length ?? 0;
  report(context, { cases: contract.titles.size, transports: TRANSPORTS.length, differences });
  expect(differences).toBeGreaterThan(0);
  expect(differences).toBeLessThanOrEqual(5);
  expect(contract.titles.size).toBeGreaterThan(10);
});
