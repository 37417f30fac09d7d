// Upstreams over TLS: a server that cannot prove its name gets nothing.
import { once } from 'node:events';
import { type AddressInfo, createServer as createPlainServer } from 'node:net';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { ConfigError } from '../../src/config/faults.ts';
import { type CertificateAuthority, createAuthority } from '../support/certificates.ts';
import { startTestGateway } from '../support/gateway.ts';
import { send } from '../support/send.ts';

let authority: CertificateAuthority;
beforeAll(() => {
  authority = createAuthority();
});
afterAll(() => authority.remove());

/** Counts what it can read, and answers it. */
async function startTlsServer(options: TlsOptions) {
  const seen = { bytes: 0, serverName: '' as string | false, authorized: false };
  const server: Server = createServer(options, (socket: TLSSocket) => {
    seen.serverName = socket.servername || '';
    seen.authorized = socket.authorized;
    socket
      .on('error', () => {})
      .on('data', (chunk) => {
        seen.bytes += chunk.length;
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      });
  });
  server.on('tlsClientError', () => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

async function gatewayTo(url: string, tls: Record<string, string>) {
  const settings = Object.keys(tls).length === 0 ? '' : `, tls: ${JSON.stringify(tls)}`;
  const gateway = await startTestGateway({
    stores: 'sqlite',
    logLevel: 'fatal',
    config: `
upstreams: { plain: { targets: ["${url}"]${settings} } }
routes: [{ path: /**, upstream: plain, access: public }]
`,
  });
  onTestFinished(() => gateway.close());
  return gateway;
}

const request = { method: 'POST', body: 'a secret', headers: { authorization: 'Bearer secret' } };

describe('a server whose certificate', () => {
  const wrong: [string, () => { cert: string; key: string }, 'ca' | 'none'][] = [
    ['is for another name', () => authority.issue('DNS:elsewhere.test'), 'ca'],
    ['has expired', () => authority.issue('IP:127.0.0.1', -1), 'ca'],
    ['is signed by itself', () => authority.selfSigned('IP:127.0.0.1'), 'ca'],
    ['is signed by itself, and no authority is named', () => authority.selfSigned('IP:127.0.0.1'), 'none'],
    ['is signed by an authority nobody named', () => authority.issue('IP:127.0.0.1'), 'none'],
  ];
  test.each(wrong)('%s gets not a byte of a request: 502', async (_what, certificate, trust) => {
    const { url, seen } = await startTlsServer(certificate());
    const gateway = await gatewayTo(url, trust === 'ca' ? { ca: authority.ca.certFile } : {});
    for (let round = 0; round < 3; round++) {
      const response = await send(`${gateway.url}/x`, request);
      const problem = await response.json();
      expect([response.status, problem]).toEqual([
        502,
        expect.objectContaining({ code: 'upstream-unreachable' }),
      ]);
      expect(JSON.stringify(problem)).not.toMatch(/127\.0\.0\.1|cert|elsewhere/i);
    }
    expect(seen.bytes).toBe(0);
  });

  test('is for its address and signed by the authority named is asked', async () => {
    const { url, seen } = await startTlsServer(authority.issue('IP:127.0.0.1'));
    const gateway = await gatewayTo(url, { ca: authority.ca.certFile });
    for (const method of ['POST', 'GET', 'POST'])
      expect(await (await send(`${gateway.url}/x`, { ...request, method })).text()).toBe('ok');
    expect(seen.bytes).toBeGreaterThan(0);
  });

  test('is for the server name that is set is asked, by that name', async () => {
    const { url, seen } = await startTlsServer(authority.issue('DNS:hub.internal'));
    const named = await gatewayTo(url, { ca: authority.ca.certFile, serverName: 'hub.internal' });
    expect((await send(`${named.url}/x`)).status).toBe(200);
    expect(seen.serverName).toBe('hub.internal');
    const misnamed = await gatewayTo(url, { ca: authority.ca.certFile, serverName: 'other.internal' });
    expect((await send(`${misnamed.url}/x`)).status).toBe(502);
  });
});

test('a server that speaks no TLS is 502', async () => {
  const server = createPlainServer((socket) => socket.on('error', () => {}).end('220 hello\r\n'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const gateway = await gatewayTo(`https://127.0.0.1:${(server.address() as AddressInfo).port}`, {});
  const response = await send(`${gateway.url}/x`);
  expect([response.status, await response.json()]).toEqual([
    502,
    expect.objectContaining({ code: 'upstream-unreachable' }),
  ]);
});

describe('a server that wants a certificate', () => {
  const demanding = () => ({
    ...authority.issue('IP:127.0.0.1'),
    ca: authority.ca.cert,
    requestCert: true,
    rejectUnauthorized: true,
  });

  test('is shown the one that is set', async () => {
    const { url, seen } = await startTlsServer(demanding());
    const { certFile, keyFile } = authority.issue('DNS:gateway');
    const gateway = await gatewayTo(url, { ca: authority.ca.certFile, cert: certFile, key: keyFile });
    expect(await (await send(`${gateway.url}/x`, request)).text()).toBe('ok');
    expect(seen.authorized).toBe(true);
  });

  test('is not heard without one: 502', async () => {
    const { url, seen } = await startTlsServer(demanding());
    const gateway = await gatewayTo(url, { ca: authority.ca.certFile });
    const response = await send(`${gateway.url}/x`, request);
    // Some say so within TLS, others close without a word.
    expect([response.status, await response.json()]).toEqual([
      502,
      expect.objectContaining({ code: expect.stringMatching(/^upstream-(unreachable|broken)$/) }),
    ]);
    expect(seen.bytes).toBe(0);
  });
});

describe('at start it is said which file cannot be used', () => {
  const cases: [string, () => Record<string, string>, RegExp][] = [
    [
      'a missing one',
      () => ({ ca: '/nowhere/ca.pem' }),
      /upstreams\.plain\.tls\.ca .*\/nowhere\/ca\.pem.*ENOENT/,
    ],
    [
      'one that is no certificate',
      () => ({ ca: authority.ca.keyFile }),
      /tls\.ca .*ca\.key holds no certificate/,
    ],
    [
      'one that is no key',
      () => ({ cert: authority.ca.certFile, key: authority.ca.certFile }),
      /tls\.key .*ca\.pem holds no private key/,
    ],
    [
      'a key of another certificate',
      () => ({ cert: authority.ca.certFile, key: authority.issue('DNS:x').keyFile }),
      /tls\.key .* is not the private key of .*ca\.pem/,
    ],
    ['a certificate without a key', () => ({ cert: authority.ca.certFile }), /tls: needs cert and key/],
    ['a name that is none', () => ({ serverName: 'a b' }), /serverName: must be a host name/],
  ];
  test.each(cases)('%s', async (_what, tls, message) => {
    const error = await gatewayTo('https://127.0.0.1:1', tls()).catch((cause) => cause);
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toMatch(message);
  });

  test('and that certificates are of no use over plain http', async () => {
    const error = await gatewayTo('http://127.0.0.1:1', { ca: authority.ca.certFile }).catch(
      (cause) => cause,
    );
    expect(error.message).toMatch(/tls: is for https:\/\/ targets/);
  });
});
