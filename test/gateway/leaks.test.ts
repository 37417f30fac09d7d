// Secrets with names of their own, on every way that fails: none comes out in an answer, a line of log or a metric.
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Client, createClient, post, signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { runCommand } from '../support/gateway-process.ts';
import { addPerson } from '../support/person.ts';
import { randomFrom, sample } from '../support/random.ts';
import { requestText, sendBytes } from '../support/raw-socket.ts';
import { scale, UNHURRIED } from '../support/scale.ts';
import { send, sendRaw } from '../support/send.ts';
import { freePort } from '../support/servers/port.ts';

const SECRET = 'canary-of-the-cookie-secret-0123456789abcdefgh';
const DATABASE_PASSWORD = 'canary-of-the-database-password';
const REDIS_PASSWORD = 'canary-of-the-redis-password';
const CONFIG = (deadPort: number, brokenPort: number) => `
upstreams:
  hub: { targets: ["\${UPSTREAM}"], githubToken: forwarded, timeouts: { headers: 500ms } }
  bearer: { targets: ["\${UPSTREAM}"], githubToken: bearer }
  dead: { targets: ["http://127.0.0.1:${deadPort}"], githubToken: forwarded }
  broken: { targets: ["http://127.0.0.1:${brokenPort}"], githubToken: bearer, timeouts: { headers: 500ms } }
routes:
  - { path: /public/**, upstream: hub, access: public }
  - { path: /api/**, upstream: hub }
  - { path: /api/admin/**, upstream: hub, access: { roles: [admin] } }
  - { path: /scoped/**, upstream: hub, access: { scopes: [admin:org] } }
  - { path: /bearer/**, upstream: bearer }
  - { path: /dead/**, upstream: dead }
  - { path: /broken/**, upstream: broken }
`;

let gateway: TestGateway;
let client: Client;
let githubToken: string;
let deadPort: number;
const broken = createServer((socket) => {
  socket.on('error', () => {}).once('data', () => socket.end('HTTP/1.1 999 No\r\n\r\n'));
});

beforeAll(async () => {
  deadPort = await freePort();
  const brokenPort = await freePort();
  await new Promise<void>((resolve) => broken.listen(brokenPort, '127.0.0.1', resolve));
  const env = { BETTER_AUTH_SECRET: SECRET };
  gateway = await startTestGateway({ logLevel: 'trace', config: CONFIG(deadPort, brokenPort), env });
  client = (await signInWithGitHub(gateway, addPerson(gateway.github).login)).client;
  const { headers } = await client.json<{ headers: Record<string, string> }>('/api/x');
  githubToken = headers['x-forwarded-access-token'] ?? '';
  expect(githubToken).toMatch(/^gho_\w{20,}$/);
});
afterEach(() => gateway.upstream.respond(undefined));
afterAll(async () => {
  await gateway?.close();
  broken.close();
});

/** What must be nowhere, as it is and in the spellings that anybody can undo. */
function canaries(): string[] {
  const cookies = [...client.cookies.values()].filter((value) => value.length > 20);
  const passwords = [gateway.config.databaseUrl, gateway.config.redisUrl]
    .map((url) => new URL(url ?? 'x:').password)
    .filter((password) => password.length > 8);
  const all = [
    ...[SECRET, DATABASE_PASSWORD, REDIS_PASSWORD, githubToken, gateway.github.app.clientSecret],
    ...[...cookies, ...cookies.map(decodeURIComponent), ...passwords],
  ];
  return all.flatMap((each) => [
    each,
    encodeURIComponent(each),
    Buffer.from(each).toString('base64').slice(0, -4),
  ]);
}

const hitsIn = (text: string) => canaries().filter((canary) => text.includes(canary));

/** Everything that can go wrong on a way through the gateway, each told in one text: head and body. */
async function failures(at: TestGateway, methods = ['GET']): Promise<string[]> {
  const visitor = createClient(at.url, new Map(client.cookies));
  const texts: string[] = [];
  // No echo: the service is told the token, and may say what it likes.
  at.upstream.respond((_request, response) => response.end('well'));
  const paths = [
    ...[
      '/api/x',
      '/api/admin/x',
      '/scoped/x',
      '/bearer/x',
      '/dead/x',
      '/broken/x',
      '/nowhere',
      '/public//x',
      '/api/%zz',
    ],
    ...[
      '/api/auth/get-session',
      '/api/auth/list-sessions',
      '/api/auth/list-accounts',
      '/api/auth/get-access-token',
    ],
    ...[
      '/api/auth/callback/github?code=x&state=y',
      '/api/auth/callback/github',
      '/api/auth/error?error=x',
      '/api/auth/nothing',
    ],
    ...[
      '/api/user-scopes',
      '/_gateway/sign-in',
      '/_gateway/nothing',
      '/api/auth/admin/list-users',
      '/.well-known/jwks.json',
    ],
  ];
  for (const path of paths)
    for (const method of methods) {
      const headers = { 'x-api-key': 'x', referer: `${at.url}/api/x`, 'content-length': '0' };
      const response = await visitor.curl(path, { method, headers });
      // Cookies go to whom they belong to.
      const told = [...response.headers].filter(([name]) => name !== 'set-cookie');
      texts.push(JSON.stringify(told) + (await response.text()));
    }
  at.upstream.respond((request) => request.socket.destroy());
  texts.push(await textOf(visitor, '/api/reset'));
  at.upstream.respond(() => {});
  texts.push(await textOf(visitor, '/api/silent'));
  at.upstream.respond(undefined);
  for (const pat of ['x', githubToken.replace('gho_', 'ghp_'), `ghp_${'x'.repeat(36)}`])
    texts.push(await textOf(visitor, '/api/auth/pat-signin', post({ pat })));
  return texts;
}

/** What a process says that is given this database. */
async function outputWithout(databaseUrl: string): Promise<string> {
  const env = {
    ...{
      DATABASE_URL: databaseUrl,
      BETTER_AUTH_SECRET: SECRET,
      BETTER_AUTH_URL: gateway.url,
      LOG_LEVEL: 'trace',
    },
    ...{
      GITHUB_CLIENT_ID: 'x',
      GITHUB_CLIENT_SECRET: gateway.github.app.clientSecret,
      UPSTREAM: gateway.upstream.url,
    },
    ...{ GITHUB_URL: gateway.github.url, GITHUB_API_URL: gateway.github.apiUrl },
    GATEWAY_CONFIG: join(gateway.config.dataDir, '../gateway.yaml'),
  };
  const { code, output } = await runCommand(['migrate'], env);
  expect([code, output]).toEqual([1, expect.stringContaining('check DATABASE_URL')]);
  return output;
}

async function textOf(visitor: Client, path: string, init?: RequestInit): Promise<string> {
  const response = await visitor.fetch(path, init);
  return (
    JSON.stringify([...response.headers].filter(([name]) => name !== 'set-cookie')) + (await response.text())
  );
}

test(
  'no secret is in any refusal, in the log or among the metrics, whatever fails',
  UNHURRIED,
  async (context) => {
    const answers = (await failures(gateway, ['GET', 'POST', 'DELETE', 'TRACE'])).join('\n');
    // Stores that cannot be reached by addresses that hold a password.
    const password = (url: string | null, word: string, port?: number) => {
      const away = new URL(url ?? '');
      away.password = word;
      if (port !== undefined) away.port = String(port);
      return away.href;
    };
    const away = await gateway.another({
      REDIS_URL: password(gateway.config.redisUrl, REDIS_PASSWORD, await freePort()),
    });
    const started = await outputWithout(password(gateway.config.databaseUrl, DATABASE_PASSWORD));
    const without = await gateway.another({ BETTER_AUTH_URL: gateway.url }).then(async (other) => {
      await other.store.query('alter table account rename to account_away');
      const texts = await failures(other).finally(() =>
        other.store.query('alter table account_away rename to account'),
      );
      return { other, texts: texts.join('\n') };
    });
    const fromAway = (await failures(away)).join('\n');
    const metrics = await Promise.all(
      [gateway, away, without.other].map(async ({ adminUrl }) => (await fetch(`${adminUrl}/metrics`)).text()),
    );
    const log = [gateway, away, without.other].flatMap((each) => each.logLines()).join('\n');
    await without.other.close();
    await away.close();
    const places = { answers, without: without.texts, fromAway, metrics: metrics.join('\n'), log, started };
    const hits = Object.entries(places).flatMap(([place, text]) =>
      hitsIn(text).map((canary) => `${place}: ${canary}`),
    );
    report(context, {
      'secrets looked for: bytes scanned': Object.values(places).join('').length,
      'secrets looked for: hits': hits.length,
      secrets: canaries().length,
    });
    expect(log.length).toBeGreaterThan(10_000);
    expect(hits).toEqual([]);
    // Nor where the services stand, nor how the code does.
    const internal = new RegExp(
      `:${deadPort}|:${new URL(gateway.upstream.url).port}|ECONN|node_modules|\\.ts:\\d|undici`,
    );
    for (const place of ['answers', 'fromAway', 'without'] as const)
      expect(places[place], place).not.toMatch(internal);
  },
);

test(
  'whatever stands in path, query and headers, a request leaves one line of JSON',
  UNHURRIED,
  async (context) => {
    const odd = [
      ...[
        '"',
        '\\',
        '\\n',
        "'",
        '{}',
        '%22',
        '%0a',
        '%0d%0a{"level":"info"}',
        '\x1b[31m',
        '\x7f',
        '\x00',
        '\xe9',
        '\xe2\x80\xa8',
      ],
      ...[
        '</script>',
        '$(x)',
        '`',
        '\\u0000',
        '__proto__',
        '{"msg":"forged"}',
        '%',
        '%zz',
        '..',
        ';',
        '#',
        '\t',
        '\x0b',
        '\xff',
      ],
    ];
    const random = randomFrom(20_300_115);
    const before = gateway.logLines().length;
    const requests = scale({ quick: 60, full: 2000 });
    let answered = 0;
    for (let at = 0; at < requests; at++) {
      const [a = '', b = '', c = '', d = ''] = sample(odd, 4, random);
      const headers = [
        `User-Agent: ${b}${c}`,
        `Referer: ${c}`,
        `X-Request-Id: ${d}`,
        `Cookie: a=${a}; better-auth.session_token=${b}`,
      ];
      const { status } = await sendBytes(gateway.url, requestText(`/api/${a}${b}?${c}=${d}`, headers));
      expect(status).toBeGreaterThanOrEqual(400);
      answered++;
    }
    const lines = gateway.logLines().slice(before);
    const broken = lines.filter((line) => !isJson(line) || hasControl(line)).length;
    report(context, { 'odd requests logged: tried': answered, 'odd requests logged: broken lines': broken });
    expect(broken).toBe(0);
    expect(lines.filter((line) => line.includes('"msg":"forged"'))).toEqual([]);
    expect(lines.filter((line) => JSON.parse(line).msg === 'request').length).toBeLessThanOrEqual(answered);
  },
);

function hasControl(line: string): boolean {
  return [...line].some((each) => each < ' ' || (each >= '\x7f' && each <= '\x9f'));
}

function isJson(line: string): boolean {
  try {
    return typeof JSON.parse(line) === 'object';
  } catch {
    return false;
  }
}

test(
  'an answer for one person is not kept for the next, whatever its path looks like',
  UNHURRIED,
  async () => {
    gateway.upstream.respond((_request, response) => response.setHeader('content-type', 'text/css').end('x'));
    for (const path of ['/api/x.css', '/api/x.js?v=1', '/api/me/logo.png', '/api/x%2ejs']) {
      const { status, headers } = await sendRaw(gateway.url + path, {
        headers: { cookie: cookiesOf(client) },
      });
      expect([status, headers[headers.findIndex((name) => /^cache-control$/i.test(name)) + 1]], path).toEqual(
        [...[200, 'private, no-store']],
      );
    }
    gateway.upstream.respond((_request, response) =>
      response.setHeader('cache-control', 'public, max-age=60').end('x'),
    );
    const { headers } = await sendRaw(`${gateway.url}/api/x.css`, { headers: { cookie: cookiesOf(client) } });
    expect(headers.join('\n').toLowerCase()).toMatch(/\nvary\ncookie/);
    gateway.upstream.respond(undefined);
    for (const path of [
      '/api/x%0a.js',
      '/api/x%00.css',
      '/api/x;.css',
      '/api/x%3b.css',
      '/api/..%2fx.css',
      '/api/x%23.css',
    ]) {
      const answer = await sendBytes(gateway.url, requestText(path));
      expect([400, 401], path).toContain(answer.status);
      expect(answer.head, path).toMatch(/\r\ncache-control: no-store/i);
    }
  },
);

function cookiesOf({ cookies }: Client): string {
  return [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
}

test('names that mean something to JavaScript change nothing here', UNHURRIED, async (context) => {
  const names = [
    '__proto__',
    'constructor',
    'prototype',
    '__proto__.polluted',
    'constructor.prototype.polluted',
  ];
  const bodies = names.flatMap((name) => [
    `{"${name}":{"polluted":1}}`,
    `{"user":{"${name}":{"polluted":1}},"pat":"x"}`,
  ]);
  const signedIn = cookiesOf(client);
  let tried = 0;
  let failed = 0;
  const note = (status: number) => {
    tried++;
    if (status >= 500 || status === 0) failed++;
  };
  for (const name of names) {
    for (const path of ['/public/x', '/api/x', '/api/auth/get-session'])
      note(
        (
          await sendBytes(
            gateway.url,
            requestText(`${path}?${name}[polluted]=1&${name}=1`, [
              `${name}: 1`,
              `Cookie: ${name}=1; ${signedIn}`,
            ]),
          )
        ).status,
      );
    note((await send(`${gateway.url}/public/${name}/x`)).status);
  }
  for (const body of bodies)
    for (const path of ['pat-signin', 'update-user', 'sign-in/social', 'revoke-session', 'admin/set-role']) {
      const headers = { 'content-type': 'application/json', cookie: signedIn };
      note((await send(`${gateway.url}/api/auth/${path}`, { method: 'POST', headers, body })).status);
    }
  const polluted = [{}, [], () => {}].filter((each) => 'polluted' in each).length;
  report(context, { 'pollution of objects: tried': tried, 'pollution of objects: polluted': polluted });
  expect([failed, polluted]).toEqual([0, 0]);
});
