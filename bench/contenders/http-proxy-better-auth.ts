// @fastify/http-proxy asking Better Auth on every request, in the same process.
import type { Contender, Surroundings } from '../contender.ts';
import { cookieHeader, cookiesOf } from '../cookies.ts';
import { startScript } from '../processes.ts';

export const httpProxyBetterAuth: Contender = {
  name: '@fastify/http-proxy + Better Auth',
  async start(surroundings) {
    const server = await startAuthScript(surroundings, 'servers/http-proxy-better-auth.ts');
    return { ...server, url: `${server.url}/app`, pids: [server.pid] };
  },
};

/** Runs a server of Better Auth with stores of its own, and signs somebody up. */
export async function startAuthScript(surroundings: Surroundings, script: string) {
  const { upstreamUrl, opened } = surroundings;
  const [database, redis] = [await surroundings.database(), await surroundings.redis()];
  const server = await startScript(script, [upstreamUrl, database, redis]);
  opened.defer(() => server.close());
  return { url: server.url, pid: server.pid, cookie: cookieHeader(await signUp(server.url)) };
}

async function signUp(url: string): Promise<string> {
  const answer = await fetch(`${url}/api/auth/sign-up/email`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: 'http://127.0.0.1' },
    body: JSON.stringify({ name: 'Octo Cat', email: 'octocat@example.com', password: 'a-long-password' }),
  });
  if (!answer.ok) throw new Error(`Better Auth refused the sign-up: ${answer.status} ${await answer.text()}`);
  return cookiesOf(answer);
}
