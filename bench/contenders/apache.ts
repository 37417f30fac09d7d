// Apache with mod_auth_openidc, against an OpenID provider of the bench's own; its sessions in shared memory or Redis.
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../test/support/servers/port.ts';
import type { Contender, Surroundings } from '../contender.ts';
import { cookieHeader } from '../cookies.ts';
import { startProgram, startScript } from '../processes.ts';
import { findProgram } from '../programs.ts';
import { signInThroughRedirects } from '../sign-in.ts';

const MODULES = '/usr/lib/apache2/modules';

const missing = () =>
  findProgram('apache2') && existsSync(`${MODULES}/mod_auth_openidc.so`)
    ? null
    : 'needs Apache with mod_auth_openidc (Debian: apt-get install apache2 libapache2-mod-auth-openidc)';

export const apacheSharedMemory: Contender = {
  name: 'Apache + mod_auth_openidc, shared memory',
  missing,
  start: (surroundings) => startApache(surroundings, 'OIDCCacheType shm'),
};

export const apacheRedis: Contender = {
  name: 'Apache + mod_auth_openidc, Redis',
  missing,
  async start(surroundings) {
    const { host } = new URL(await surroundings.redis());
    return startApache(surroundings, `OIDCCacheType redis\nOIDCRedisCacheServer ${host}`);
  },
};

async function startApache(surroundings: Surroundings, cache: string) {
  const { upstreamUrl, opened } = surroundings;
  const provider = await startScript('servers/openid-provider.ts', [], { role: 'stores' });
  opened.defer(() => provider.close());
  const [port, dir] = [await freePort(), await surroundings.folder('apache')];
  await writeFile(
    join(dir, 'apache.conf'),
    configuration({ dir, port, upstreamUrl, provider: provider.url, cache }),
  );
  const url = `http://127.0.0.1:${port}`;
  const command = [findProgram('apache2') ?? '', '-D', 'FOREGROUND', '-f', join(dir, 'apache.conf')];
  const server = await startProgram(command, url);
  opened.defer(() => server.close());
  const cookie = cookieHeader(await signInThroughRedirects(`${url}/api/x`));
  return { url, pids: [server.pid], cookie };
}

interface ApacheParts {
  readonly dir: string;
  readonly port: number;
  readonly upstreamUrl: string;
  readonly provider: string;
  readonly cache: string;
}

const LOADED = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'proxy', 'proxy_http', 'auth_openidc'];

function configuration({ dir, port, upstreamUrl, provider, cache }: ApacheParts): string {
  const worker = userInfo().uid === 0 ? 'User www-data\nGroup www-data' : '';
  return `
ServerRoot ${dir}
DefaultRuntimeDir ${dir}
PidFile ${dir}/apache.pid
ErrorLog ${dir}/error.log
ServerName 127.0.0.1
Listen 127.0.0.1:${port}
${worker}
${LOADED.map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`).join('\n')}
ServerLimit 1
StartServers 1
ThreadLimit 128
ThreadsPerChild 128
MaxRequestWorkers 128
MaxConnectionsPerChild 0
KeepAlive On
KeepAliveTimeout 600
MaxKeepAliveRequests 0
OIDCProviderMetadataURL ${provider}/.well-known/openid-configuration
OIDCClientID bench
OIDCClientSecret a-secret-for-benchmarks
OIDCRedirectURI http://127.0.0.1:${port}/oidc/callback
OIDCCryptoPassphrase a-passphrase-for-benchmarks
OIDCSessionInactivityTimeout 86400
${cache}
<Location />
  AuthType openid-connect
  Require valid-user
</Location>
ProxyPass /oidc/ !
ProxyPass / ${upstreamUrl}/ keepalive=On
`;
}
