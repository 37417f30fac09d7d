// nginx in three ways: forwarding alone, asking Better Auth on every request, and asking Redis in Lua.
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from '../../test/support/servers/port.ts';
import type { Contender, Surroundings } from '../contender.ts';
import { cookieHeader } from '../cookies.ts';
import { startProgram } from '../processes.ts';
import { findProgram } from '../programs.ts';
import { startAuthScript } from './http-proxy-better-auth.ts';

const MODULES = '/usr/lib/nginx/modules';
const LUA = '/usr/share/lua/5.1';

const missing = () => (findProgram('nginx') ? null : 'needs nginx (Debian: apt-get install nginx-light)');

export const nginx: Contender = {
  name: 'nginx proxy_pass',
  missing,
  async start(surroundings) {
    const server = await startNginx(surroundings, { location: '' });
    return { ...server, cookie: cookieHeader() };
  },
};

export const nginxAuthRequest: Contender = {
  name: 'nginx auth_request + Better Auth',
  missing,
  async start(surroundings) {
    const auth = await startAuthScript(surroundings, 'servers/auth-request.ts');
    const server = await startNginx(surroundings, {
      upstreams: upstreamBlock('auth', auth.url),
      location: `
        auth_request /_session;
        auth_request_set $user $upstream_http_x_user;
        proxy_set_header X-Forwarded-User $user;`,
      locations: `
        location = /_session {
          internal;
          proxy_pass http://auth/session;
          proxy_pass_request_body off;
          proxy_set_header Content-Length "";
          ${KEEP_ALIVE}
        }`,
    });
    return { url: server.url, pids: [...server.pids, auth.pid], cookie: auth.cookie };
  },
};

/** No signature is checked, and there is nothing to fall back on: the least that looking a session up can be. */
export const nginxLua: Contender = {
  name: 'nginx + Lua + Redis',
  missing: () =>
    missing() ??
    (existsSync(`${MODULES}/ngx_http_lua_module.so`) && existsSync(`${LUA}/nginx/redis.lua`)
      ? null
      : 'needs Lua in nginx (Debian: apt-get install libnginx-mod-http-lua lua-nginx-redis)'),
  async start(surroundings) {
    const redisUrl = await surroundings.redis();
    const sid = 'S'.repeat(43);
    const redis = new Redis(redisUrl);
    await redis.set(`session:${sid}`, 'octocat:octocat@example.com');
    redis.disconnect();
    const server = await startNginx(surroundings, {
      modules: ['ndk_http_module', 'ngx_http_lua_module'],
      http: `lua_package_path "${LUA}/?.lua;;";`,
      location: luaCheck(new URL(redisUrl).port),
    });
    return { ...server, cookie: cookieHeader(`sid=${sid}`) };
  },
};

const KEEP_ALIVE = 'proxy_http_version 1.1; proxy_set_header Connection "";';

interface NginxParts {
  readonly modules?: readonly string[];
  readonly http?: string;
  readonly upstreams?: string;
  readonly location: string;
  readonly locations?: string;
}

async function startNginx({ upstreamUrl, opened, folder }: Surroundings, parts: NginxParts) {
  const [port, dir] = [await freePort(), await folder('nginx')];
  await writeFile(join(dir, 'nginx.conf'), configuration(dir, port, upstreamUrl, parts));
  const url = `http://127.0.0.1:${port}`;
  const command = [
    findProgram('nginx') ?? '',
    '-p',
    dir,
    '-c',
    join(dir, 'nginx.conf'),
    '-e',
    join(dir, 'error.log'),
  ];
  const server = await startProgram(command, url);
  opened.defer(() => server.close());
  return { url, pids: [server.pid] };
}

function configuration(dir: string, port: number, upstreamUrl: string, parts: NginxParts): string {
  return `
    daemon off;
    worker_processes 1;
    pid ${dir}/nginx.pid;
    error_log ${dir}/error.log;
    ${(parts.modules ?? []).map((name) => `load_module ${MODULES}/${name}.so;`).join('\n')}
    worker_rlimit_nofile 16384;
    events { worker_connections 12000; }
    http {
      access_log off;
      client_header_buffer_size 4k;
      keepalive_requests 1000000000;
      client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fastcgi;
      uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
      ${parts.http ?? ''}
      ${upstreamBlock('app', upstreamUrl)}
      ${parts.upstreams ?? ''}
      server {
        listen 127.0.0.1:${port} backlog=1024;
        ${parts.locations ?? ''}
        location / {
          ${parts.location}
          ${KEEP_ALIVE}
          proxy_pass http://app;
        }
        location /socket {
          proxy_http_version 1.1;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection "Upgrade";
          proxy_pass http://app;
        }
      }
    }`;
}

function upstreamBlock(name: string, url: string): string {
  return `upstream ${name} { server ${new URL(url).host}; keepalive 128; keepalive_requests 1000000000; }`;
}

function luaCheck(redisPort: string): string {
  return `
    access_by_lua_block {
      local redis = require("nginx.redis"):new()
      local sid = ngx.var.cookie_sid
      if not sid then return ngx.exit(401) end
      local ok, err = redis:connect("127.0.0.1", ${redisPort})
      if not ok then return ngx.exit(503) end
      local session, err = redis:get("session:" .. sid)
      if err then return ngx.exit(503) end
      redis:set_keepalive(60000, 128)
      if session == ngx.null then return ngx.exit(401) end
      local user, email = session:match("^([^:]+):(.+)$")
      ngx.req.set_header("X-Forwarded-User", user)
      ngx.req.set_header("X-Forwarded-Email", email)
    }`;
}
