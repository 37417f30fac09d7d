// oauth2-proxy, where it is on the PATH, against the bench's own OpenID provider; its sessions in Redis.
import { freePort } from '../../test/support/servers/port.ts';
import type { Contender } from '../contender.ts';
import { cookieHeader } from '../cookies.ts';
import { startProgram, startScript } from '../processes.ts';
import { findProgram } from '../programs.ts';
import { signInThroughRedirects } from '../sign-in.ts';

export const oauth2Proxy: Contender = {
  name: 'oauth2-proxy, Redis',
  missing: () =>
    findProgram('oauth2-proxy')
      ? null
      : 'needs oauth2-proxy on the PATH (github.com/oauth2-proxy/oauth2-proxy)',
  async start({ upstreamUrl, opened, redis }) {
    const provider = await startScript('servers/openid-provider.ts', [], { role: 'stores' });
    opened.defer(() => provider.close());
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const settings = {
      'http-address': `127.0.0.1:${port}`,
      provider: 'oidc',
      'oidc-issuer-url': provider.url,
      'client-id': 'bench',
      'client-secret': 'a-secret-for-benchmarks',
      'redirect-url': `${url}/oauth2/callback`,
      'cookie-secret': 'a-secret-of-32-bytes-0123456789a',
      'cookie-secure': 'false',
      'email-domain': '*',
      'session-store-type': 'redis',
      'redis-connection-url': await redis(),
      'skip-provider-button': 'true',
      'request-logging': 'false',
      'auth-logging': 'false',
      upstream: `${upstreamUrl}/`,
    };
    const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
    const server = await startProgram([findProgram('oauth2-proxy') ?? '', ...flags], `${url}/ping`);
    opened.defer(() => server.close());
    return { url, pids: [server.pid], cookie: cookieHeader(await signInThroughRedirects(`${url}/api/x`)) };
  },
};
