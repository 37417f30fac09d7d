// What Redis missed while it was away is not believed when it is back.
import { expect, onTestFinished, test } from 'vitest';
import { createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { startTestGateway } from '../support/gateway.ts';
import { startRedis } from '../support/redis.ts';

test.each(['refuse', 'blackhole'] as const)(
  'a sign-out while Redis is away (%s) is not undone when Redis is back',
  async (fault) => {
    const redis = await startRedis();
    onTestFinished(() => redis.close());
    const proxy = await startFaultProxy(redis);
    onTestFinished(() => proxy.close());
    const gateway = await startTestGateway({ stores: 'postgres', env: { REDIS_URL: proxy.url(redis.url) } });
    onTestFinished(() => gateway.close());
    const { client } = await signInWithGitHub(gateway, 'octocat');
    const replay = createClient(gateway.url, new Map(client.cookies));
    expect((await replay.fetch('/api/x')).status).toBe(200);
    await proxy[fault]();
    const response = await client.fetch('/api/auth/sign-out', post());
    await proxy.heal();
    const ready = async () => (await fetch(`${gateway.adminUrl}/readyz`)).status;
    await expect.poll(ready, { timeout: 10_000 }).toBe(200);
    const after = (await replay.fetch('/api/x')).status;
    // Either it was refused and changed nothing, or it holds.
    expect([response.status, after]).toEqual(response.status === 503 ? [503, 200] : [200, 401]);
  },
);
