// HTTP/2 over TLS: a server that cannot prove its name gets nothing, as over HTTP/1.1.
import { once } from 'node:events';
import { createSecureServer, type SecureServerOptions } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type CertificateAuthority, createAuthority } from '../../support/certificates.ts';
import { startTestGateway } from '../../support/gateway.ts';
import { send } from '../../support/send.ts';

let authority: CertificateAuthority;
beforeAll(() => {
  authority = createAuthority();
});
afterAll(() => authority.remove());

async function startServer(options: SecureServerOptions) {
  const seen = { streams: 0, serverName: '' as string | false, authorized: false };
  const server = createSecureServer(options, (_request, response) => {
    const socket = response.stream.session?.socket as TLSSocket;
    seen.streams++;
    seen.serverName = socket.servername || '';
    seen.authorized = socket.authorized;
    response.end('ok');
  });
  server.on('session', (session) => session.on('error', () => {}));
  server.on('tlsClientError', () => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

async function gatewayTo(url: string, tls: Record<string, string>) {
  const gateway = await startTestGateway({
    stores: 'sqlite',
    logLevel: 'fatal',
    config: `
upstreams: { api: { protocol: h2, targets: ["${url}"], tls: ${JSON.stringify(tls)} } }
routes: [{ path: /**, upstream: api, access: public }]
`,
  });
  onTestFinished(() => gateway.close());
  return gateway;
}

const request = { method: 'POST', body: 'a secret', headers: { authorization: 'Bearer secret' } };
const codeOf = async (response: Response) => [
  response.status,
  ((await response.json()) as { code: string }).code,
];

describe('a server whose certificate', () => {
  const wrong: [string, () => { cert: string; key: string }, 'ca' | 'none'][] = [
    ['is for another name', () => authority.issue('DNS:elsewhere.test'), 'ca'],
    ['has expired', () => authority.issue('IP:127.0.0.1', -1), 'ca'],
    ['is signed by itself', () => authority.selfSigned('IP:127.0.0.1'), 'ca'],
    ['is signed by an authority nobody named', () => authority.issue('IP:127.0.0.1'), 'none'],
  ];
  test.each(wrong)('%s gets no request: 502', async (_what, certificate, trust) => {
    const { url, seen } = await startServer(certificate());
    const gateway = await gatewayTo(url, trust === 'ca' ? { ca: authority.ca.certFile } : {});
    for (let round = 0; round < 2; round++)
      expect(await codeOf(await send(`${gateway.url}/x`, request))).toEqual([502, 'upstream-unreachable']);
    expect(seen.streams).toBe(0);
  });

  test('is for the server name that is set is asked, by that name', async () => {
    const { url, seen } = await startServer(authority.issue('DNS:hub.internal'));
    const named = await gatewayTo(url, { ca: authority.ca.certFile, serverName: 'hub.internal' });
    expect(await (await send(`${named.url}/x`, request)).text()).toBe('ok');
    expect(seen.serverName).toBe('hub.internal');
    const misnamed = await gatewayTo(url, { ca: authority.ca.certFile, serverName: 'other.internal' });
    expect((await send(`${misnamed.url}/x`)).status).toBe(502);
  });
});

test('a server that wants a certificate is shown the one that is set, and not heard without', async () => {
  const demanding = { ca: authority.ca.cert, requestCert: true, rejectUnauthorized: true };
  const { url, seen } = await startServer({ ...authority.issue('IP:127.0.0.1'), ...demanding });
  const { certFile, keyFile } = authority.issue('DNS:gateway');
  const gateway = await gatewayTo(url, { ca: authority.ca.certFile, cert: certFile, key: keyFile });
  expect(await (await send(`${gateway.url}/x`, request)).text()).toBe('ok');
  expect(seen.authorized).toBe(true);
  const without = await gatewayTo(url, { ca: authority.ca.certFile });
  expect(await codeOf(await send(`${without.url}/x`, request))).toEqual([502, 'upstream-unreachable']);
  expect(seen.streams).toBe(1);
});

test('a server that speaks TLS but not HTTP/2 is 502, and sent no request', async () => {
  let text = '';
  const { cert, key } = authority.issue('IP:127.0.0.1');
  const server = createTlsServer({ cert, key, ALPNProtocols: ['http/1.1'] }, (socket) => {
    socket
      .on('error', () => {})
      .on('data', (chunk) => {
        text += chunk;
        socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
      });
  });
  server.on('tlsClientError', () => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const gateway = await gatewayTo(`https://127.0.0.1:${(server.address() as AddressInfo).port}`, {
    ca: authority.ca.certFile,
  });
  expect(await codeOf(await send(`${gateway.url}/x`, request))).toEqual([502, 'upstream-unreachable']);
  expect(text).not.toContain('secret');
});
