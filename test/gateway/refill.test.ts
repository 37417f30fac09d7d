import { expect, test } from 'vitest';
import { createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { startTestGateway } from '../support/gateway.ts';

test('a lookup under way while the session is signed out does not bring it back', async () => {
  const one = await startTestGateway();
  const url = new URL(one.config.databaseUrl ?? '');
  const proxy = await startFaultProxy({ host: url.hostname, port: Number(url.port || 5432) });
  const two = await one.another({ DATABASE_URL: proxy.url(one.config.databaseUrl ?? '') });
  try {
    const { client } = await signInWithGitHub(one);
    const slow = createClient(two.url, new Map(client.cookies));
    const replay = createClient(one.url, new Map(client.cookies));
    const warm = (await signInWithGitHub(one, 'hubot')).client;
    await createClient(two.url, warm.cookies).fetch('/api/x');
    proxy.delay(300);
    const pending = slow.fetch('/api/x');
    await new Promise((r) => setTimeout(r, 150));
    expect((await client.fetch('/api/auth/sign-out', post())).status).toBe(200);
    expect((await replay.fetch('/api/x')).status).toBe(401);
    expect((await pending).status).toBe(200);
    expect((await replay.fetch('/api/x')).status).toBe(401);
  } finally {
    await two.close();
    await proxy.close();
    await one.close();
  }
});
