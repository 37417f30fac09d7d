// One gateway in front of the same service, reached over every transport: each behind a path of the transport's name.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, test } from 'vitest';
import { type CertificateAuthority, createAuthority } from '../../support/certificates.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { startTransport, TRANSPORTS, type Transport, type TransportName } from '../../support/transports.ts';

export interface Lanes {
  readonly gateway: TestGateway;
  readonly authority: CertificateAuthority;
  of(name: TransportName): Lane;
  /** Every service echoes again. */
  quiet(): void;
  close(): Promise<void>;
}

export interface Lane extends Transport {
  /** Of the gateway. */
  url(path: string, access?: 'public' | 'session' | 'events' | 'limited'): string;
}

/** @param more settings of every upstream, in YAML */
export async function startLanes(more = ''): Promise<Lanes> {
  const authority = createAuthority();
  const dir = mkdtempSync(join(tmpdir(), 'gateway-lanes-'));
  const parts = { certificate: authority.issue('IP:127.0.0.1'), caFile: authority.ca.certFile, dir };
  const transports = await Promise.all(TRANSPORTS.map((name) => startTransport(name, parts)));
  const gateway = await startTestGateway({
    stores: 'sqlite',
    config: `
upstreams:
${transports.map(({ name, settings }) => `  ${name}: { ${settings}, plainHttpToken: allow, githubToken: forwarded${more} }`).join('\n')}
routes:
${transports
  .flatMap(({ name }) => [
    `  - { path: /${name}/public/**, upstream: ${name}, stripPrefix: /${name}/public, access: public }`,
    `  - { path: /${name}/session/**, upstream: ${name}, stripPrefix: /${name}/session, access: session }`,
    `  - { path: /${name}/events/**, upstream: ${name}, access: session, finalEvent: true }`,
    `  - { path: /${name}/limited/**, upstream: ${name}, access: public, maxBodySize: 1kb, timeouts: { headers: 400ms, idle: 300ms, stream: 5s } }`,
  ])
  .join('\n')}
`,
  });
  const lanes = new Map(
    transports.map((transport) => [
      transport.name,
      Object.assign(transport, {
        url: (path: string, access = 'public') => `${gateway.url}/${transport.name}/${access}${path}`,
      }) as Lane,
    ]),
  );
  return {
    gateway,
    authority,
    of: (name) => lanes.get(name) as Lane,
    quiet() {
      for (const transport of transports) transport.respond(undefined);
    },
    async close() {
      await gateway.close();
      await Promise.all(transports.map((transport) => transport.close()));
      authority.remove();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** A request that is still to be written, on a connection of its own. */
export function open(
  url: string,
  method = 'GET',
  headers: Record<string, string | string[]> = {},
): ClientRequest {
  const { origin } = new URL(url);
  const { hostname, port } = new URL(origin);
  // Not by way of URL, which would spell the path anew.
  const path = url.slice(origin.length);
  const request = httpRequest({ hostname, port, path, method, headers, agent: false });
  request.on('error', () => {});
  onTestFinished(() => void request.destroy());
  return request;
}

export async function answerTo(request: ClientRequest): Promise<IncomingMessage> {
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response.on('error', () => {});
}

export async function bytesOf(message: IncomingMessage): Promise<Buffer> {
  return Buffer.concat(await message.toArray());
}

export async function textOf(message: IncomingMessage): Promise<string> {
  return (await bytesOf(message)).toString();
}

/** However it comes: a message that is cut ends with an error, too. */
export function closeOf(message: IncomingMessage): Promise<unknown> {
  return new Promise((resolve) =>
    message.closed ? resolve(null) : message.on('error', () => {}).once('close', resolve),
  );
}

/** A test of what holds over every transport; called once for each. */
export function contract(title: string, body: () => Promise<void>): void {
  contract.titles.add(title);
  test(title, body);
}
contract.titles = new Set<string>();

/** @param headers names and values in turn; @param name in lower case */
export function valuesOf(headers: readonly string[], name: string): string[] {
  return headers.filter((_, at) => at % 2 === 1 && headers[at - 1]?.toLowerCase() === name);
}
