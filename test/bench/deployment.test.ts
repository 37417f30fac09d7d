import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { deploymentReport, loadDeployment } from '../../bench/deployment.ts';
import { freePort } from '../support/servers/port.ts';

const ORDER = { method: 'GET', headers: {}, connections: 4, seconds: 0.3 };

test('a deployment under load is told by percentiles, and by the codes of its answers', async () => {
  const seen = new Set<string>();
  let count = 0;
  const url = await serve((request, answer) => {
    seen.add(`${request.method} ${request.url} ${request.headers.cookie} ${request.headers['x-trace']}`);
    count++;
    if (count % 2 === 0) answer(200, 'fine');
    else answer(503, JSON.stringify({ code: 'session-store-unavailable' }));
  });
  const order = { ...ORDER, url: `${url}/api/x?y=1`, cookie: 'a=b', headers: { 'x-trace': '7' } };
  const result = await loadDeployment(order);
  expect([...seen]).toEqual(['GET /api/x?y=1 a=b 7']);
  expect(Object.keys(result.answers).sort()).toEqual(['200', '503 session-store-unavailable']);
  expect(result.requests).toBe(count);
  const { p50, p90, p99, max } = result.latency;
  expect([p50, p90, p99, max]).toEqual([p50, p90, p99, max].toSorted((a, b) => a - b));
  expect(deploymentReport(result)).toMatch(/503 session-store-unavailable: \d+ \(\d\d\.\d\d %\)/);
});

test('a deployment that is not there is told by the code of the failure, and the load ends all the same', async () => {
  const url = `http://127.0.0.1:${await freePort()}/`;
  const result = await loadDeployment({ ...ORDER, url });
  expect(Object.keys(result.answers)).toEqual(['ECONNREFUSED']);
});

type Answer = (status: number, body: string) => void;

async function serve(onRequest: (request: IncomingMessage, answer: Answer) => void): Promise<string> {
  const server = createServer((request, response) =>
    onRequest(request, (status, body) => response.writeHead(status).end(body)),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
