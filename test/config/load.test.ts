// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration file has variables of this form
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../src/config/faults.ts';
import { loadConfig } from '../../src/config/load.ts';
import { configWarnings } from '../../src/config/warnings.ts';
import { ConfigFolder, faultsOf, loadText, SECRET, SMALLEST } from './config-folder.ts';

const ROOT = join(import.meta.dirname, '../..');

function loadFile(file: string, env: NodeJS.ProcessEnv = {}) {
  return loadConfig({ BETTER_AUTH_SECRET: SECRET, ...env, GATEWAY_CONFIG: file });
}

/** The smallest configuration with these lines of an upstream, and these routes. */
function withUpstream(lines: string, routes = '  - { path: /**, upstream: hub }'): string {
  return `upstreams:\n  hub:\n${lines.replace(/^/gm, '    ')}\nroutes:\n${routes}\n`;
}

function withTarget(target: string, more = ''): string {
  return withUpstream(`targets: [${JSON.stringify(target)}]\n${more}`);
}

function withRoutes(...routes: string[]): string {
  return withUpstream('targets: [http://127.0.0.1:3000]', routes.map((route) => `  - ${route}`).join('\n'));
}

describe('loads', () => {
  test('the documented example, with its comments', () => {
    const config = loadFile(join(import.meta.dirname, 'example.yaml'));
    expect(Object.keys(config.upstreams)).toEqual(['hub', 'github']);
    expect(config.upstreams.hub).toMatchObject({
      targets: ['http://127.0.0.1:3000'],
      githubToken: 'forwarded',
      cookies: 'strip',
      setCookies: 'strip',
      timeouts: { connect: 2_000, headers: 30_000, idle: 300_000 },
      health: { path: '/healthz', interval: 5_000 },
    });
    expect(config.upstreams.github).toMatchObject({ githubToken: 'bearer', cookies: 'strip' });
    expect(config.routes.map(({ path }) => path)).toEqual([
      '/api/public/**',
      '/api/admin/**',
      '/api/repos/**',
      '/github/**',
      '/**',
    ]);
    expect(config.routes.map(({ access }) => access)).toEqual([
      'public',
      { roles: ['admin'], scopes: [], unknownScopes: 'deny' },
      { roles: [], scopes: ['public_repo'], unknownScopes: 'deny' },
      'session',
      'session',
    ]);
    expect(config.routes[2]).toMatchObject({ methods: ['GET', 'HEAD'] });
    expect(config.routes[3]).toMatchObject({ stripPrefix: '/github' });
    expect(config).toMatchObject({
      trustedProxies: [],
      trustedOrigins: [],
      admins: [],
      signIn: { logins: [], organizations: [], teams: [], recheck: 900_000, staleIfError: 3_600_000 },
      sessions: { staleIfError: 900_000, cookieFallback: 300_000 },
      githubTokens: { format: 'aes-256-gcm' },
      server: { workers: 1 },
    });
  });

  test.each(['config/gateway.yaml', 'config/better-hub.yaml', 'config/compose.yaml'])('%s', (file) => {
    expect(loadFile(join(ROOT, file)).routes.length).toBeGreaterThan(1);
  });

  test('the smallest file there is, with defaults that give nothing away', () => {
    expect(loadText(SMALLEST)).toMatchObject({
      upstreams: {
        hub: {
          protocol: 'http1',
          identity: 'oauth2-proxy',
          githubToken: 'none',
          plainHttpToken: 'refuse',
          cookies: 'strip',
          setCookies: 'strip',
        },
      },
      routes: [
        {
          ...{ access: 'session', caseSensitive: false, reportOnly: false, crossSite: 'refuse' },
          ...{ encodedSlashes: 'refuse', pathParameters: 'refuse' },
        },
      ],
      trustedProxies: [],
      trustedOrigins: [],
      admins: [],
    });
  });

  test('every setting a route may have, in the units of programs', () => {
    const text = withRoutes(`path: /x/**
    upstream: hub
    hosts: [hub.example.com, "*.example.com"]
    rewrite: /y
    encodedSlashes: allow
    pathParameters: allow
    crossSite: allow
    reportOnly: true
    maxBodySize: 10mb
    maxStreams: 500
    finalEvent: true
    timeouts: { headers: 2m, stream: 4h }
    cors: { origins: [https://app.example.com], credentials: true }`);
    expect(loadText(text).routes).toEqual([
      {
        ...{ path: '/x/**', upstream: 'hub', hosts: ['hub.example.com', '*.example.com'], rewrite: '/y' },
        ...{ access: 'session', impersonation: 'read-only', caseSensitive: false },
        ...{ encodedSlashes: 'allow', pathParameters: 'allow', crossSite: 'allow', reportOnly: true },
        ...{ maxStreams: 500, finalEvent: true },
        ...{ maxBodySize: 10 * 1024 * 1024, timeouts: { headers: 120_000, stream: 14_400_000 } },
        cors: {
          ...{ origins: ['https://app.example.com'], credentials: true, maxAge: 600_000 },
          ...{ headers: ['content-type'], exposeHeaders: [] },
        },
      },
    ]);
  });

  test.each([
    ['512b', 512],
    ['64kb', 65_536],
    ['10mb', 10_485_760],
    ['1gb', 1_073_741_824],
    ['1tb', 1_099_511_627_776],
    ['0b', 0],
  ])('a size of %s as %i bytes', (text, bytes) => {
    const { routes } = loadText(withRoutes(`{ path: /x, upstream: hub, maxBodySize: ${text} }`));
    expect(routes[0]?.maxBodySize).toBe(bytes);
  });

  test('values and secrets of the environment beside the file', () => {
    const text = SMALLEST.replace('http://127.0.0.1:3000', '"${HUB_URL}"');
    const config = loadText(text, { HUB_URL: 'https://hub.internal', PORT: '9000' });
    expect(config.upstreams.hub?.targets).toEqual(['https://hub.internal']);
    expect(config.port).toBe(9000);
    expect(config.secrets).toEqual([{ version: 0, value: SECRET }]);
  });

  test('config/gateway.yaml unless another file is named', () => {
    const { upstreams, routes } = loadFile('', {});
    expect({ upstreams, routes }).toEqual({
      upstreams: loadFile(join(ROOT, 'config/gateway.yaml')).upstreams,
      routes: loadFile(join(ROOT, 'config/gateway.yaml')).routes,
    });
  });
});

test('the configuration is frozen through and through', () => {
  const config = loadFile(join(import.meta.dirname, 'example.yaml'), {
    GITHUB_CLIENT_ID: 'id',
    GITHUB_CLIENT_SECRET: 'secret',
  });
  const open: string[] = [];
  const visit = (value: unknown, path: string) => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return;
    if (!Object.isFrozen(value)) open.push(path);
    for (const [key, inner] of Object.entries(value)) visit(inner, `${path}.${key}`);
  };
  visit(config, 'config');
  expect(open).toEqual([]);
  expect(() => (config.routes as unknown[]).push({})).toThrow(TypeError);
});

describe('tells what is wrong', () => {
  test('all at once, each with its place, in file and environment', () => {
    const text = `upstreams:
  hub:
    targets: [ftp://127.0.0.1]
    cookie: pass
  idle:
    targets: [http://127.0.0.1:3001]
routes:
  - { path: api, upstream: hub }
  - { path: /x, upstream: nobody }
  - { path: /y, upstream: hub, access: { role: [admin] } }
trustedOrigins: ["*"]
sessions:
  staleIfError: soon
servers: 1
`;
    const faults = faultsOf(text, { BETTER_AUTH_SECRET: 'short', PORT: 'x' });
    expect(faults.map(({ place }) => place)).toEqual([
      'environment PORT',
      'environment BETTER_AUTH_SECRET',
      'gateway.yaml:3:15',
      'gateway.yaml:4:5',
      'gateway.yaml:5:3',
      'gateway.yaml:8:13',
      'gateway.yaml:9:27',
      'gateway.yaml:10:42',
      'gateway.yaml:11:18',
      'gateway.yaml:13:17',
      'gateway.yaml:14:1',
    ]);
  });

  test('in one message for the terminal, a line for each', () => {
    const error = new ConfigError([
      { place: 'a.yaml:1:2', message: 'one' },
      { place: 'environment PORT', message: 'two' },
    ]);
    expect(error.message.split('\n')).toEqual([
      expect.stringContaining('2 faults'),
      expect.stringMatching(/a\.yaml:1:2\s+one/),
      expect.stringMatching(/environment PORT\s+two/),
    ]);
    expect(new ConfigError([{ place: 'x', message: 'y' }]).message).toContain('1 fault:');
  });

  test('when the file is not there', () => {
    using folder = new ConfigFolder();
    const missing = join(folder.path, 'missing.yaml');
    expect(() => loadFile(missing)).toThrow(ConfigError);
    expect(() => loadFile(missing)).toThrow(/missing\.yaml .*ENOENT.*GATEWAY_CONFIG/);
    expect(() => loadFile(folder.path)).toThrow(ConfigError);
  });

  test.each(['', '# only a comment\n', 'x', '[]', '- 1', '1', 'null', '{}', 'a: *b', '\t', '"', '\0'])(
    'when the file is %j',
    (text) => {
      expect(faultsOf(text).length).toBeGreaterThan(0);
    },
  );
});

describe('an unknown key is told with those that are allowed', () => {
  test.each([
    ['in the file', `${SMALLEST}route: []\n`, '6:1', 'routes'],
    ['in an upstream', withTarget('http://127.0.0.1', 'target: x'), '4:5', 'targets'],
    ['in its timeouts', withTarget('http://127.0.0.1', 'timeouts: { conect: 2s }'), '4:17', 'connect'],
    [
      'in its health check',
      withTarget('http://127.0.0.1', 'health: { path: /, every: 2s }'),
      '4:24',
      'interval',
    ],
    ['in a route', withRoutes('{ path: /**, upstream: hub, acess: public }'), '5:33', 'access'],
    ['in its access', withRoutes('{ path: /**, upstream: hub, access: { role: [x] } }'), '5:43', 'roles'],
    ['in sessions', `${SMALLEST}sessions: { stale: 1s }\n`, '6:13', 'staleIfError'],
    ['in signIn', `${SMALLEST}signIn: { users: [x] }\n`, '6:11', 'logins'],
    ['__proto__', `${SMALLEST}__proto__: 1\n`, '6:1', 'routes'],
    ['constructor', withRoutes('{ path: /**, upstream: hub, constructor: 1 }'), '5:33', 'access'],
  ])('%s', (_where, text, place, allowed) => {
    expect(faultsOf(text)).toEqual([
      {
        place: `gateway.yaml:${place}`,
        message: expect.stringMatching(new RegExp(`unknown key; allowed are .*\\b${allowed}\\b`)),
      },
    ]);
  });
});

describe('a target is refused', () => {
  test.each([
    ['when it is no address', 'hub'],
    ['when it is empty', ''],
    ['when it is a file', 'file:///etc/passwd'],
    ['when it speaks no HTTP', 'ftp://127.0.0.1'],
    ['when it carries a user', 'http://user@127.0.0.1'],
    ['when it carries a password', 'http://user:canary@127.0.0.1'],
    ['when it carries a password alone', 'http://:canary@127.0.0.1'],
    ['when it has a path', 'http://127.0.0.1/api'],
    ['when it has a query', 'http://127.0.0.1?x=1'],
    ['when it has a fragment', 'http://127.0.0.1#x'],
    ['when it has a port that is none', 'http://127.0.0.1:99999'],
    ['when cloud metadata lives there', 'http://169.254.169.254'],
    ['when it is link-local', 'https://169.254.0.1'],
    ['when it is link-local in decimal', 'http://2852039166'],
    ['when it is link-local in hexadecimal', 'http://0xa9fea9fe'],
    ['when it is link-local in octal', 'http://0251.0376.0251.0376'],
    ['when it is link-local with a dot behind it', 'http://169.254.169.254.'],
    ['when it is link-local IPv6', 'http://[fe80::1]'],
    ['when it is link-local IPv4 in IPv6', 'http://[::ffff:169.254.169.254]'],
    ['when it is link-local IPv4 in IPv6, in hexadecimal', 'http://[::ffff:a9fe:a9fe]'],
    ['when it is a socket without a path', 'unix:'],
    ['when it is a socket somewhere', 'unix:api.sock'],
    ['when it is a socket of a host', 'unix://run/api.sock'],
    ['when it is a socket with a NUL', 'unix:/run/a\0b'],
    ['when it is a socket the system would cut', `unix:/${'x'.repeat(107)}`],
  ])('%s: %s', (_why, target) => {
    const faults = faultsOf(withTarget(target));
    expect(faults).toEqual([{ place: 'gateway.yaml:3:15', message: expect.stringContaining('targets.0') }]);
    expect(faults[0]?.message).not.toContain('canary');
  });

  test.each([
    ['h2', 'http://127.0.0.1', 'must be https:// for protocol h2'],
    ['h2', 'unix:/run/api.sock', 'must be https:// for protocol h2'],
    ['h2c', 'https://127.0.0.1', 'must be http:// or unix: for protocol h2c'],
    ['h3', 'https://127.0.0.1', '"http1"|"h2"|"h2c"'],
  ])('when protocol %s cannot be spoken to it: %s', (protocol, target, message) => {
    const faults = faultsOf(withTarget(target, `protocol: ${protocol}`));
    expect(faults).toEqual([{ place: expect.any(String), message: expect.stringContaining(message) }]);
  });

  test.each([
    ['http1', 'unix:/run/api.sock'],
    ['http1', `unix:/${'x'.repeat(106)}`],
    ['h2c', 'unix:/run/api.sock'],
    ['h2c', 'http://127.0.0.1:3000'],
    ['h2', 'https://hub.internal'],
  ])('but not where %s can be spoken to it: %s', (protocol, target) => {
    const config = loadText(withTarget(target, `protocol: ${protocol}`));
    expect(config.upstreams.hub).toMatchObject({ protocol, targets: [target] });
  });

  test('when a GitHub token would go to it over h2c, but not when it is a socket', () => {
    const token = 'protocol: h2c\ngithubToken: forwarded';
    expect(faultsOf(withTarget('http://hub.internal', token))).toEqual([
      { place: expect.any(String), message: expect.stringContaining('in the clear') },
    ]);
    expect(loadText(withTarget('unix:/run/api.sock', token)).upstreams.hub?.githubToken).toBe('forwarded');
  });

  test('when it is one of several', () => {
    const text = withUpstream('targets: [http://127.0.0.1:1, x, http://127.0.0.1:3]');
    expect(faultsOf(text).map(({ place }) => place)).toEqual(['gateway.yaml:3:35']);
  });

  test('when there is none', () => {
    expect(faultsOf(withUpstream('targets: []'))).toHaveLength(1);
    expect(faultsOf(withUpstream('githubToken: none'))).toHaveLength(1);
  });
});

describe('a GitHub token', () => {
  test.each([
    'http://api:3000',
    'http://10.0.0.1',
    'http://localhost.example.com',
    'http://127.0.0.1.nip.io',
    'http://0.0.0.0',
  ])('does not travel in the clear to %s, unless that is allowed', (target) => {
    for (const githubToken of ['forwarded', 'bearer']) {
      const faults = faultsOf(withTarget(target, `githubToken: ${githubToken}`));
      expect(faults).toEqual([
        { place: 'gateway.yaml:3:15', message: expect.stringContaining('plainHttpToken: allow') },
      ]);
      const allowed = withTarget(target, `githubToken: ${githubToken}\nplainHttpToken: allow`);
      expect(faultsOf(allowed)).toEqual([]);
    }
    expect(faultsOf(withTarget(target))).toEqual([]);
  });

  test.each([
    'http://127.0.0.1:3000',
    'http://127.9.9.9',
    'http://localhost:3000',
    'http://[::1]:3000',
    'https://api.github.com',
  ])('may go to %s', (target) => {
    expect(faultsOf(withTarget(target, 'githubToken: bearer'))).toEqual([]);
  });
});

describe('a route is refused', () => {
  test.each([
    ['without a path', '{ upstream: hub }', '5:5'],
    ['without an upstream', '{ path: /** }', '5:5'],
    ['for an upstream that is not there', '{ path: /x, upstream: hbu }', '5:27'],
    ['with a path that is none', '{ path: x, upstream: hub }', '5:13'],
    ['with a star inside a segment', '{ path: /x*, upstream: hub }', '5:13'],
    ['with an access that is none', '{ path: /x, upstream: hub, access: everyone }', '5:40'],
    ['with a scope that is none', '{ path: /x, upstream: hub, access: { scopes: ["a b"] } }', '5:51'],
    ['with a method that is none', '{ path: /x, upstream: hub, methods: [FETCH] }', '5:42'],
    ['with no method', '{ path: /x, upstream: hub, methods: [] }', '5:41'],
    ['with a prefix of another path', '{ path: /x/**, upstream: hub, stripPrefix: /y }', '5:48'],
    ['with half a segment as prefix', '{ path: /github/**, upstream: hub, stripPrefix: /git }', '5:53'],
    ['with a prefix longer than its path', '{ path: /x/**, upstream: hub, stripPrefix: /x/y }', '5:48'],
    [
      'with a rewrite beside a prefix',
      '{ path: /x/**, upstream: hub, stripPrefix: /x, rewrite: /y }',
      '5:61',
    ],
    ['with a rewrite that ends in a slash', '{ path: /x/**, upstream: hub, rewrite: /y/ }', '5:44'],
    ['with a rewrite that has dots', '{ path: /x/**, upstream: hub, rewrite: /y/../z }', '5:44'],
    ['with a host that is none', '{ path: /x, upstream: hub, hosts: [a.example, "Hub:80"] }', '5:51'],
    ['with a star within a host', '{ path: /x, upstream: hub, hosts: [a.*.example] }', '5:40'],
    ['with no host', '{ path: /x, upstream: hub, hosts: [] }', '5:39'],
    ['that opts in by another word', '{ path: /x, upstream: hub, encodedSlashes: yes }', '5:48'],
    ['that opts in to parameters by true', '{ path: /x, upstream: hub, pathParameters: true }', '5:48'],
    ['that knows crossSite by another word', '{ path: /x, upstream: hub, crossSite: false }', '5:43'],
    ['that reports by a word', '{ path: /x, upstream: hub, reportOnly: allow }', '5:44'],
    ['with a body of no unit', '{ path: /x, upstream: hub, maxBodySize: 10 }', '5:45'],
    ['with a body of an unknown unit', '{ path: /x, upstream: hub, maxBodySize: 10mib }', '5:45'],
    ['with a body beyond counting', '{ path: /x, upstream: hub, maxBodySize: 9000tb }', '5:45'],
    ['with a time that is none', '{ path: /x, upstream: hub, timeouts: { idle: 5 } }', '5:50'],
    ['with a time to connect', '{ path: /x, upstream: hub, timeouts: { connect: 5s } }', '5:44'],
    ['with cors without origins', '{ path: /x, upstream: hub, cors: {} }', '5:38'],
    [
      'with an origin that has a path',
      '{ path: /x, upstream: hub, cors: { origins: ["https://a.b/"] } }',
      '5:50',
    ],
    ['with the origin null', '{ path: /x, upstream: hub, cors: { origins: ["null"] } }', '5:50'],
    ['with a star in an origin', '{ path: /x, upstream: hub, cors: { origins: ["https://*.b"] } }', '5:50'],
    [
      'with cookies for all origins',
      '{ path: /x, upstream: hub, cors: { origins: ["*"], credentials: true } }',
      '5:50',
    ],
    [
      'with all origins beside one',
      '{ path: /x, upstream: hub, cors: { origins: ["https://a.b", "*"] } }',
      '5:65',
    ],
    [
      'with a method for pages that is none',
      '{ path: /x, upstream: hub, cors: { origins: ["*"], methods: [get] } }',
      '5:66',
    ],
    [
      'with a header for pages that is none',
      '{ path: /x, upstream: hub, cors: { origins: ["*"], headers: ["a b"] } }',
      '5:66',
    ],
  ])('%s', (_why, route, place) => {
    const text = withRoutes(route, '{ path: /other, upstream: hub }');
    expect(faultsOf(text)).toEqual([
      { place: `gateway.yaml:${place}`, message: expect.stringContaining('routes.0') },
    ]);
  });

  test('for an upstream that is not there, with those that are', () => {
    const [fault] = faultsOf(withRoutes('{ path: /x, upstream: hbu }', '{ path: /y, upstream: hub }'));
    expect(fault?.message).toMatch(/hbu.*there is hub/);
  });

  test.each([
    ['equals another', '/api', '/api'],
    ['differs from another in case alone', '/api/**', '/API/**'],
    ['differs from another by a slash at the end', '/api', '/api/'],
  ])('that %s', (_what, first, second) => {
    const text = withRoutes(`{ path: ${first}, upstream: hub }`, `{ path: ${second}, upstream: hub }`);
    expect(faultsOf(text)).toEqual([
      { place: 'gateway.yaml:6:13', message: expect.stringContaining(`the route ${first}`) },
    ]);
  });

  test('that has host and path of another', () => {
    const text = withRoutes(
      '{ path: /x, upstream: hub, hosts: [a.example, b.example] }',
      '{ path: /x, upstream: hub, hosts: [a.example] }',
      '{ path: /x, upstream: hub, hosts: ["*.example"] }',
      '{ path: /x, upstream: hub }',
    );
    expect(faultsOf(text)).toEqual([
      { place: 'gateway.yaml:6:13', message: expect.stringContaining('the route /x') },
    ]);
  });

  test.each([
    ['in cors', '{ path: /x, upstream: hub, cors: { origins: ["*"], origin: x } }', 'origins, methods'],
    ['in timeouts', '{ path: /x, upstream: hub, timeouts: { header: 1s } }', 'headers, idle'],
  ])('for an unknown key %s, told with those that are allowed', (_where, route, allowed) => {
    expect(faultsOf(withRoutes(route))).toEqual([
      {
        place: expect.stringMatching(/^gateway\.yaml:5:/),
        message: expect.stringContaining(`unknown key; allowed are ${allowed}`),
      },
    ]);
  });

  test.each([
    ...['/_gateway', '/_gateway/**', '/_gateway/sign-in', '/api/user-scopes', '/.well-known/jwks.json'],
    ...[
      '/api/auth/sign-in/social',
      '/api/auth/callback/github',
      '/api/auth/pat-signin',
      '/api/auth/get-session',
    ],
    ...['/api/auth/sign-out/', '/API/auth/ok', '/api/user-scopes/'],
    ...['/api/auth/sign-out', '/api/auth/list-sessions', '/api/auth/admin/**', '/api/auth/ok'],
  ])('that could never be reached: %s', (path) => {
    const text = withRoutes(`{ path: ${path}, upstream: hub }`, '{ path: /**, upstream: hub }');
    expect(faultsOf(text)).toEqual([
      { place: 'gateway.yaml:5:13', message: expect.stringContaining('itself') },
    ]);
  });

  test.each([
    '/api/auth/**',
    '/api/auth/subscription/**',
    '/api/auth/*',
    '/api/**',
    '/.well-known/**',
    '/_gateways',
  ])('not when some of its paths are not ours: %s', (path) => {
    expect(faultsOf(withRoutes(`{ path: ${path}, upstream: hub }`))).toEqual([]);
  });

  test.each([
    ['{ path: /github/**, upstream: hub, stripPrefix: /github }'],
    ['{ path: /GitHub/**, upstream: hub, stripPrefix: /github }'],
    ['{ path: /github, upstream: hub, stripPrefix: /github }'],
    ['{ path: /a/b/**, upstream: hub, stripPrefix: /a/b }'],
  ])('not for a prefix that is one: %s', (route) => {
    expect(faultsOf(withRoutes(route))).toEqual([]);
  });

  test('when there is none at all', () => {
    expect(
      faultsOf('upstreams: { hub: { targets: [http://127.0.0.1] } }\nroutes: []\n').length,
    ).toBeGreaterThan(0);
  });
});

test('an upstream that no route names is refused', () => {
  const text = SMALLEST.replace('routes:', '  idle:\n    targets: [http://127.0.0.1:3001]\nroutes:');
  expect(faultsOf(text)).toEqual([
    { place: 'gateway.yaml:4:3', message: expect.stringContaining('upstreams.idle') },
  ]);
});

test.each(['Hub', 'hub_2', '2hub', '-hub', 'h b'])('an upstream may not be called %s', (name) => {
  const faults = faultsOf(SMALLEST.replaceAll('hub', name));
  expect(faults.map(({ place }) => place)).toContain('gateway.yaml:2:3');
  expect(faults.find(({ place }) => place.endsWith(':2:3'))?.message).toContain('lower-case letters');
});

describe('a trusted origin', () => {
  test.each([
    'https://app.example.com',
    'http://localhost:5173',
    'https://app.example.com:8443',
    'https://xn--hb-yia.example',
  ])('may be %s', (origin) => {
    expect(loadText(`${SMALLEST}trustedOrigins: [${JSON.stringify(origin)}]\n`).trustedOrigins).toEqual([
      origin,
    ]);
  });

  test.each([
    ...[
      '*',
      'https://*',
      'https://*.example.com',
      'https://app.*',
      'null',
      '',
      'app.example.com',
      '//app.example.com',
    ],
    ...[
      'https://app.example.com/',
      'https://app.example.com/x',
      'https://app.example.com?x',
      'https://user@app.example.com',
    ],
    ...[
      'https://APP.example.com',
      'https://app.example.com:443',
      'ftp://app.example.com',
      'file://',
      'https://',
    ],
  ])('may not be %j', (origin) => {
    expect(faultsOf(`${SMALLEST}trustedOrigins: [${JSON.stringify(origin)}]\n`)).toEqual([
      { place: 'gateway.yaml:6:18', message: expect.stringContaining('trustedOrigins.0') },
    ]);
  });
});

describe('a trusted proxy', () => {
  test.each(['10.0.0.1', '10.0.0.0/8', '::1', '2001:db8::/32', '0.0.0.0/0', '10.0.0.1/32', '::1/128'])(
    'may be %s',
    (range) => {
      expect(faultsOf(`${SMALLEST}trustedProxies: [${JSON.stringify(range)}]\n`)).toEqual([]);
    },
  );

  test.each([
    '*',
    'true',
    'loopback',
    '10.0.0',
    '10.0.0.0/33',
    '::1/129',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    'proxy.internal',
    '',
  ])('may not be %j', (range) => {
    expect(faultsOf(`${SMALLEST}trustedProxies: [${JSON.stringify(range)}]\n`)).toEqual([
      { place: 'gateway.yaml:6:18', message: expect.stringContaining('trustedProxies.0') },
    ]);
  });
});

describe('a duration', () => {
  const inSessions = (text: string) => `${SMALLEST}sessions: { staleIfError: ${text} }\n`;

  test.each([
    ['500ms', 500],
    ['2s', 2_000],
    ['15m', 900_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
    ['"2s"', 2_000],
  ])('%s is %i ms', (text, milliseconds) => {
    expect(loadText(inSessions(text)).sessions.staleIfError).toBe(milliseconds);
  });

  test.each([
    '5',
    '5y',
    '0s',
    '-1s',
    '1.5s',
    '1 s',
    's',
    '""',
    'true',
    '5S',
    '25d',
    '99999999999s',
    '[1s]',
    '1s2s',
  ])('is not %s', (text) => {
    expect(faultsOf(inSessions(text))).toEqual([
      { place: 'gateway.yaml:6:27', message: expect.stringMatching(/staleIfError: must be/) },
    ]);
  });
});

describe('a variable', () => {
  test('that is missing is told beside the other faults', () => {
    const text = SMALLEST.replace('http://127.0.0.1:3000', '"${HUB_URL}"').replace('/**', '/x*');
    const faults = faultsOf(text);
    expect(faults.map(({ place }) => place)).toEqual(
      expect.arrayContaining(['gateway.yaml:3:15', 'gateway.yaml:5:13']),
    );
    expect(faults.map(({ message }) => message).join('\n')).toContain('HUB_URL is not set');
  });

  test.each([
    'http://127.0.0.1:3000]\n    githubToken: forwarded\n    x: [',
    'http://127.0.0.1:3000, http://evil.example',
    '"http://evil.example"',
    'http://127.0.0.1:3000 # comment',
  ])('cannot add to the configuration: %j', (HUB_URL) => {
    const text = SMALLEST.replace('http://127.0.0.1:3000', '"${HUB_URL}"');
    expect(faultsOf(text, { HUB_URL })).toEqual([
      { place: 'gateway.yaml:3:15', message: expect.stringContaining('targets.0') },
    ]);
  });

  test('cannot weaken a route', () => {
    const text = SMALLEST.replace('path: /**', 'path: "${ROUTE}"');
    for (const ROUTE of ['/**, access: public', '/**", access: public, x: "', '/** }\n  - { path: /x'])
      expect(faultsOf(text, { ROUTE }).map(({ place }) => place)).toEqual(['gateway.yaml:5:13']);
  });
});

test('no fault repeats a secret that stands in the file or comes into it', () => {
  const canary = 'canary-Zx9-4kQw';
  const texts = [
    withTarget(`http://user:${canary}@127.0.0.1`),
    withTarget('http://user:${SECRET_VALUE}@127.0.0.1'),
    withTarget('${SECRET_VALUE}'),
    `${SMALLEST}trustedOrigins: ["\${SECRET_VALUE}"]\n`,
    `${SMALLEST}trustedProxies: ["\${SECRET_VALUE}"]\n`,
    `${SMALLEST}admins: ["\${SECRET_VALUE}_"]\n`,
    `${SMALLEST}sessions: { staleIfError: "\${SECRET_VALUE}" }\n`,
  ];
  for (const text of texts) {
    const faults = faultsOf(text, { SECRET_VALUE: canary });
    expect(faults.length).toBeGreaterThan(0);
    expect(JSON.stringify(faults)).not.toContain(canary);
  }
});

test('the file’s text is UTF-8 and may be long', () => {
  const routes = Array.from({ length: 2_000 }, (_, at) => `{ path: /r${at}/**, upstream: hub } # é`);
  expect(loadText(withRoutes(...routes)).routes).toHaveLength(2_000);
  expect(readFileSync(join(import.meta.dirname, 'example.yaml'), 'utf8')).toContain('#');
});

test('an operator is told of routes that give more away than they seem to', () => {
  const warnings = configWarnings(
    loadText(
      withRoutes(
        '{ path: /trial/**, upstream: hub, reportOnly: true }',
        '{ path: /hooks/**, upstream: hub, access: public, crossSite: allow }',
        '{ path: /open/**, upstream: hub, crossSite: allow }',
      ),
    ),
  );
  const about = (path: string) => warnings.filter((warning) => warning.includes(path));
  expect(about('/trial/**')).toEqual([expect.stringContaining('reportOnly')]);
  expect(about('/open/**')).toEqual([expect.stringContaining('crossSite')]);
  expect(about('/hooks/**')).toEqual([]);
});
