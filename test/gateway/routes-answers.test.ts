// What a route says of an upstream's answer, and how long it may take: CORS, limits, and what proxies tell.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, createClient, signInWithGitHub } from '../support/browser-like.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { requestText, sendBytes } from '../support/raw-socket.ts';
import { send, sendRaw } from '../support/send.ts';

const APP = 'https://app.example.com';
const CONFIG = `
upstreams:
  hub: { targets: ["\${UPSTREAM}"] }
routes:
  - { path: /plain/**, upstream: hub, access: public }
  - { path: /read/**, upstream: hub, cors: { origins: [${APP}], exposeHeaders: [etag] } }
  - { path: /act/**, upstream: hub, cors: { origins: [${APP}], credentials: true } }
  - { path: /open/**, upstream: hub, access: public, cors: { origins: ["*"] } }
  - { path: /hasty/**, upstream: hub, access: public, timeouts: { headers: 300ms } }
  - { path: /restless/**, upstream: hub, access: public, timeouts: { idle: 300ms } }
  - { path: /small/**, upstream: hub, access: public, maxBodySize: 1kb }
trustedProxies: ["127.0.0.9"]
`;

let gateway: TestGateway;
let client: Client;
beforeAll(async () => {
  gateway = await startTestGateway({ stores: 'sqlite', config: CONFIG });
  client = (await signInWithGitHub(gateway, addPerson(gateway.github).login)).client;
});
afterAll(() => gateway.close());

describe('an upstream’s answer', () => {
  const THEIRS = {
    'access-control-allow-origin': 'https://evil.example',
    'Access-Control-Allow-Credentials': 'true',
    'access-control-expose-headers': '*',
    vary: 'Accept',
    etag: '"1"',
  };
  const answered = async (visitor: Client, path: string, origin: string | undefined, method = 'GET') => {
    gateway.upstream.respond((_request, response) => void response.writeHead(200, THEIRS).end());
    const headers: Record<string, string> = origin === undefined ? {} : { origin };
    const response = await visitor.curl(path, { method, headers });
    gateway.upstream.respond(undefined);
    expect(response.status).toBe(200);
    return Object.fromEntries(
      [...response.headers].filter(([name]) => /^(access-control-|vary$|etag$)/.test(name)),
    );
  };
  const varies = { vary: 'Accept, Origin', etag: '"1"' };

  test('tells the pages of the route what the route says, and nothing of the upstream’s own', async () => {
    expect(await answered(client, '/read/x', APP)).toEqual({
      ...{ ...varies, vary: expect.stringMatching(/^Accept,.*Origin$/) },
      ...{ 'access-control-allow-origin': APP, 'access-control-expose-headers': 'etag' },
    });
    expect(await answered(client, '/act/x', APP)).toMatchObject({
      ...{ 'access-control-allow-origin': APP, 'access-control-allow-credentials': 'true' },
    });
    expect(await answered(createClient(gateway.url), '/open/x', 'https://any.example')).toEqual({
      ...{ ...varies, 'access-control-allow-origin': '*' },
    });
  });

  test('tells look-alikes nothing', async () => {
    for (const origin of ['https://evil.example', 'null', `${APP}.evil.example`, `${APP}/`, undefined])
      for (const path of ['/read/x', '/act/x'])
        expect(
          Object.keys(await answered(client, path, origin)).filter((name) => name.startsWith('access-')),
          `${path} for ${origin}`,
        ).toEqual([]);
  });

  test('is the upstream’s where the route says nothing', async () => {
    expect(await answered(createClient(gateway.url), '/plain/x', APP)).toMatchObject({
      ...{ 'access-control-allow-origin': 'https://evil.example', vary: 'Accept' },
    });
  });
});

describe('the timeouts of a route', () => {
  test('end the wait for an answer', async () => {
    gateway.upstream.respond((_request, response) => void setTimeout(() => response.end('late'), 3000));
    const response = await send(`${gateway.url}/hasty/x`);
    gateway.upstream.respond(undefined);
    expect([response.status, (await response.json()).code]).toEqual([504, 'upstream-timeout']);
  });

  test('end an answer that falls silent, and no other route’s', async () => {
    gateway.upstream.respond((_request, response) => {
      response.write('begun');
      setTimeout(() => response.end(' and ended'), 3000);
    });
    await expect(sendRaw(`${gateway.url}/restless/x`)).rejects.toThrow();
    expect(String((await sendRaw(`${gateway.url}/hasty/x`)).body)).toBe('begun and ended');
    gateway.upstream.respond(undefined);
  });
});

test('a body without a length is cut off at the limit of the route', async () => {
  const chunk = (length: number) => `${length.toString(16)}\r\n${'x'.repeat(length)}\r\n`;
  const upload = (...lengths: number[]) => {
    const head = requestText('/small/x', ['Transfer-Encoding: chunked'], 'POST');
    return sendBytes(gateway.url, `${head}${lengths.map(chunk).join('')}0\r\n\r\n`);
  };
  expect((await upload(512, 512)).status).toBe(200);
  const answer = await upload(512, 513);
  expect([answer.status, JSON.parse(answer.body).code]).toEqual([413, 'body-too-large']);
});

describe('what only a proxy can know', () => {
  const TOLD = {
    ...{ 'X-Real-IP': '203.0.113.7', 'True-Client-IP': '203.0.113.7', 'CF-Connecting-IP': '203.0.113.7' },
    ...{ 'CF-Ray': 'x', Forwarded: 'for=203.0.113.7' },
  };
  const names = ['x-real-ip', 'true-client-ip', 'cf-connecting-ip', 'cf-ray', 'forwarded'];
  const seen = () => names.map((name) => gateway.upstream.seen.at(-1)?.headers[name]);

  test('is believed of a trusted one', async () => {
    await send(`${gateway.url}/plain/x`, { from: '127.0.0.9', headers: TOLD });
    expect(seen()).toEqual([
      ...['203.0.113.7', '203.0.113.7', '203.0.113.7', 'x', 'for=203.0.113.7, for=127.0.0.9'],
    ]);
  });

  test('and of nobody else, in no spelling', async () => {
    const headers = { ...TOLD, X_Real_IP: '203.0.113.7', 'cf.connecting.ip': '203.0.113.7' };
    await send(`${gateway.url}/plain/x`, { from: '127.0.0.8', headers });
    expect(JSON.stringify(gateway.upstream.seen.at(-1)?.rawHeaders)).not.toMatch(/203\.0\.113\.7|cf-ray/i);
  });
});
