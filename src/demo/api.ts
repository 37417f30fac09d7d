// A sample of the API behind the gateway: shows who called, and asks GitHub with the token it was handed.
// A plain HTTP server that knows nothing of the gateway but its headers.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface SampleApi {
  readonly url: string;
  close(): Promise<void>;
}

/** @param githubApiUrl where /user is asked for with the caller's token */
export async function startSampleApi(githubApiUrl: string, port = 0, host = '127.0.0.1'): Promise<SampleApi> {
  const server = createServer((request, response) => {
    answer(request, githubApiUrl).then(
      (body) => sendJson(response, 200, body),
      (error: unknown) => sendJson(response, 500, { error: String(error) }),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request: IncomingMessage, githubApiUrl: string): Promise<unknown> {
  const path = (request.url ?? '/').split('?', 1)[0];
  if (path === '/healthz') return { status: 'ok' };
  if (path?.startsWith('/api/public/'))
    return { message: 'This is for everyone.', caller: callerOf(request) };
  if (path?.startsWith('/api/admin/'))
    return { message: 'This is for administrators.', caller: callerOf(request) };
  return {
    method: request.method,
    path: request.url,
    caller: callerOf(request),
    github: await askGitHub(request, githubApiUrl),
  };
}

/** Everything the gateway says about the caller; the token is only said to be there. */
function callerOf({ headers }: IncomingMessage) {
  return {
    id: headers['x-forwarded-user'] ?? null,
    login: headers['x-forwarded-preferred-username'] ?? null,
    email: headers['x-forwarded-email'] ?? null,
    role: headers['x-forwarded-groups'] ?? null,
    scopes: headers['x-gateway-scopes'] ?? null,
    impersonatedBy: headers['x-gateway-impersonated-by'] ?? null,
    hasGitHubToken: headers['x-forwarded-access-token'] !== undefined,
    requestId: headers['x-request-id'] ?? null,
  };
}

async function askGitHub({ headers }: IncomingMessage, githubApiUrl: string): Promise<unknown> {
  const token = headers['x-forwarded-access-token'];
  if (token === undefined) return null;
  const response = await fetch(`${githubApiUrl}/user`, {
    headers: {
      authorization: `Bearer ${token}`,
      'user-agent': 'sample-better-hub-api',
      accept: 'application/json',
    },
    signal: AbortSignal.timeout(5000),
  });
  const user = (await response.json()) as { id?: number; login?: string; name?: string };
  return { status: response.status, id: user.id, login: user.login, name: user.name };
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response
    .writeHead(status, { 'content-type': 'application/json' })
    .end(`${JSON.stringify(body, null, 2)}\n`);
}
