// Streams where changes by others are not heard, or the store is away.
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { closeOf, openEventStream, openWebSocket } from '../../support/streams.ts';
import { addSubject } from '../../support/subject.ts';

const CONFIG = `
upstreams: { hub: { targets: ["\${UPSTREAM}"] } }
routes: [{ path: /api/**, upstream: hub }]
`;

let deaf: TestGateway;
beforeAll(async () => {
  deaf = await startTestGateway({ config: CONFIG, triggers: false, logLevel: 'error' });
});
afterAll(() => deaf?.close());

test('without triggers a stream ends seconds after its session, whoever ended that', async () => {
  const { client, token } = await addSubject(deaf);
  deaf.upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
  });
  onTestFinished(() => deaf.upstream.respond(undefined));
  const webSocket = await openWebSocket(`${deaf.url}/api/x`, { client });
  const events = await openEventStream(`${deaf.url}/api/x`, { client });
  const closed = closeOf(webSocket);
  const from = performance.now();
  await deaf.store.query('delete from session where token = $1', token);
  expect(await closed).toEqual({ code: 4401, reason: 'session-expired' });
  expect(await events.ended).toBe('end');
  expect(performance.now() - from).toBeLessThan(8000);
});

test('on the embedded file a change by another program ends streams', async () => {
  const gateway = await startTestGateway({ stores: 'sqlite', config: CONFIG, logLevel: 'error' });
  onTestFinished(() => gateway.close());
  const { client, token } = await addSubject(gateway);
  const closed = closeOf(await openWebSocket(`${gateway.url}/api/x`, { client }));
  await gateway.store.query('delete from session where token = $1', token);
  expect(await closed).toEqual({ code: 4401, reason: 'session-expired' });
});
