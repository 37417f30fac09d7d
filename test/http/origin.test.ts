import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { originReader } from '../../src/http/origin.ts';
import { trustAddresses } from '../../src/policy/client-address.ts';
import { send } from '../support/send.ts';

const app = Fastify();
let url: string;
beforeAll(async () => {
  // 127.0.0.9 is a proxy of ours, other addresses of this machine are clients.
  const { forwarded } = originReader('https://hub.example.com', trustAddresses(['127.0.0.9']));
  app.get('/', async (request) => forwarded(request));
  await app.listen({ host: '127.0.0.1', port: 0 });
  url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
});
afterAll(() => app.close());

const TOLD = {
  'x-forwarded-for': '203.0.113.7',
  'x-forwarded-proto': 'http',
  'x-forwarded-host': 'docs.example.com:8080',
  forwarded: 'for=203.0.113.7;proto=http',
};
const readFrom = async (from: string, headers: Record<string, string | string[]>) =>
  (await send(url, { from, headers })).json();

test('a client’s own words about itself count for nothing', async () => {
  expect(await readFrom('127.0.0.2', TOLD)).toEqual({
    ...{ forwardedFor: '127.0.0.2', proto: 'https', host: new URL(url).host, port: new URL(url).port },
    ...{ trusted: false, forwarded: null },
  });
});

describe('a trusted proxy', () => {
  test('is believed, and added to those before it', async () => {
    expect(await readFrom('127.0.0.9', TOLD)).toEqual({
      ...{
        forwardedFor: '203.0.113.7, 127.0.0.9',
        proto: 'http',
        host: 'docs.example.com:8080',
        port: '8080',
      },
      ...{ trusted: true, forwarded: 'for=203.0.113.7;proto=http, for=127.0.0.9' },
    });
  });

  test('that sends Forwarded in two lines has them joined', async () => {
    const { forwarded } = await readFrom('127.0.0.9', { forwarded: ['for=a', 'for=b'] });
    expect(forwarded).toBe('for=a, for=b, for=127.0.0.9');
  });

  test('that says nothing leaves what the connection says', async () => {
    expect(await readFrom('127.0.0.9', {})).toEqual({
      ...{ forwardedFor: '127.0.0.9', proto: 'https', host: new URL(url).host, port: new URL(url).port },
      ...{ trusted: true, forwarded: null },
    });
  });

  test.each(['', 'a, b', 'a b', 'a/b', 'a@b', 'a:x', '[::1'])(
    'that calls %j a host is refused',
    async (host) => {
      const response = await send(url, { from: '127.0.0.9', headers: { 'x-forwarded-host': host } });
      expect(response.status).toBeGreaterThanOrEqual(400);
    },
  );
});
