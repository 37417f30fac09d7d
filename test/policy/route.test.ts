import { describe, expect, test } from 'vitest';
import { upstreamPath } from '../../src/policy/route.ts';
import {
  patternFault,
  type RouteOptions,
  routeConflicts,
  routeSchema,
} from '../../src/policy/route-options.ts';
import { createRouteTable, type RouteMatch } from '../../src/policy/route-table.ts';
import { parseTarget } from '../../src/policy/target.ts';
import { targetOf } from './samples.ts';

type WrittenRoute = string | { path: string; [key: string]: unknown };

function routesOf(written: readonly WrittenRoute[]): RouteOptions[] {
  return written.map((route) =>
    routeSchema.parse({ upstream: 'hub', ...(typeof route === 'string' ? { path: route } : route) }),
  );
}

function match(written: readonly WrittenRoute[], url: string, method = 'GET', host = ''): RouteMatch {
  return createRouteTable(routesOf(written))(method, targetOf(url), host);
}

/** The pattern that governs the URL; null when none does. */
function ruleOf(written: readonly WrittenRoute[], url: string): string | null {
  const found = match(written, url);
  return found.found === 'route' ? found.route.name : null;
}

describe('the most specific route wins', () => {
  const patterns = ['/**', '/api/**', '/api/*/members', '/api/*/**', '/api/teams/**', '/api/teams/new'];
  const rows: [url: string, pattern: string][] = [
    ['/', '/**'],
    ['/other', '/**'],
    ['/api', '/api/**'],
    ['/api/x', '/api/*/**'],
    ['/api/x/members', '/api/*/members'],
    ['/api/x/members/1', '/api/*/**'],
    ['/api/teams', '/api/teams/**'],
    ['/api/teams/members', '/api/teams/**'],
    ['/api/teams/new', '/api/teams/new'],
    ['/api/teams/new/1', '/api/teams/**'],
  ];

  test.each(rows)('%s is governed by %s, wherever the routes stand', (url, pattern) => {
    expect(ruleOf(patterns, url)).toBe(pattern);
    expect(ruleOf([...patterns].reverse(), url)).toBe(pattern);
    expect(ruleOf([...patterns.slice(3), ...patterns.slice(0, 3)], url)).toBe(pattern);
  });

  test('falls back to a wider route when a narrower one leads nowhere', () => {
    expect(ruleOf(['/a/b/c', '/a/**'], '/a/b/d')).toBe('/a/**');
    expect(ruleOf(['/a/b/c', '/*/b/d'], '/a/b/d')).toBe('/*/b/d');
    expect(ruleOf(['/a/*/c', '/*/b/**'], '/a/b/d')).toBe('/*/b/**');
  });
});

describe('whole segments', () => {
  const patterns = ['/api/**', '/api/admin/**', '/exact'];

  test.each(['/apiadmin', '/api-admin', '/api.admin', '/ap', '/exactly', '/exact/more', '/x/api', '/'])(
    'no rule governs %s',
    (url) => {
      expect(match(patterns, url)).toEqual({ found: 'nothing' });
    },
  );

  test.each(['/api/administrators', '/api/admin.css', '/api/admin-x', '/api/xadmin', '/api/admin%20'])(
    'the rule of /api/admin does not govern %s',
    (url) => {
      expect(ruleOf(patterns, url)).toBe('/api/**');
    },
  );

  test.each(['/api', '/api/', '/api/x', '/api/x/', '/api/x/y/z'])('/api/** covers %s', (url) => {
    expect(ruleOf(['/api/**'], url)).toBe('/api/**');
  });

  test.each(['/api/admin', '/api/admin/', '/api/admin/x', '/api/admin/x/'])(
    '/api/admin/** covers %s before /api/** does',
    (url) => {
      expect(ruleOf(patterns, url)).toBe('/api/admin/**');
    },
  );

  test.each(['/exact', '/exact/'])('a slash at the end changes no rule: %s', (url) => {
    expect(ruleOf(['/exact', '/**'], url)).toBe('/exact');
    expect(ruleOf(['/exact/', '/**'], url)).toBe('/exact/');
  });

  test.each([
    ['/users/x', '/users/*'],
    ['/users/x/', '/users/*'],
    ['/users', null],
    ['/users/', null],
    ['/users/x/y', null],
  ])('* stands for one segment: %s is governed by %s', (url, pattern) => {
    expect(ruleOf(['/users/*'], url)).toBe(pattern);
  });

  test('the root is a path like any other', () => {
    expect(ruleOf(['/'], '/')).toBe('/');
    expect(ruleOf(['/'], '/x')).toBeNull();
    expect(ruleOf(['/', '/**'], '/')).toBe('/');
  });
});

describe('letters', () => {
  const patterns = ['/api/**', '/api/Admin/**'];

  test.each(['/api/admin', '/api/ADMIN', '/API/aDmIn/x', '/%41PI/%61dmin', '/api/%41%44%4D%49%4e/'])(
    'match without regard to case and escapes: %s',
    (url) => {
      expect(ruleOf(patterns, url)).toBe('/api/Admin/**');
    },
  );

  test('match exactly where the route says caseSensitive', () => {
    const routes = [{ path: '/Api/**', caseSensitive: true }, '/**'];
    expect(ruleOf(routes, '/Api/x')).toBe('/Api/**');
    expect(ruleOf(routes, '/%41pi/x')).toBe('/Api/**');
    expect(ruleOf(routes, '/api/x')).toBe('/**');
    expect(ruleOf(routes, '/API/x')).toBe('/**');
  });

  test('a narrower route that ignores case beats a wider exact one', () => {
    const routes = [{ path: '/Api/**', caseSensitive: true, access: 'public' }, '/api/admin/**'];
    expect(ruleOf(routes, '/Api/admin')).toBe('/api/admin/**');
  });

  test('two exact routes may differ in case alone', () => {
    const routes = [
      { path: '/Docs', caseSensitive: true },
      { path: '/docs', caseSensitive: true },
    ];
    expect(routeConflicts(routesOf(routes))).toEqual([]);
    expect(ruleOf(routes, '/Docs')).toBe('/Docs');
    expect(ruleOf(routes, '/docs')).toBe('/docs');
    expect(ruleOf(routes, '/DOCS')).toBeNull();
  });
});

describe('methods', () => {
  const routes = [
    { path: '/repos/**', methods: ['GET'], upstream: 'reader' },
    { path: '/repos/**', methods: ['POST', 'PUT'], upstream: 'writer' },
    '/**',
  ];
  const upstreamOf = (method: string, written: readonly WrittenRoute[] = routes) => {
    const found = match(written, '/repos/x', method);
    return found.found === 'route' ? found.route.upstream : found;
  };

  test.each([
    ['GET', 'reader'],
    ['HEAD', 'reader'],
    ['POST', 'writer'],
    ['PUT', 'writer'],
  ])('%s goes to the %s', (method, upstream) => {
    expect(upstreamOf(method)).toBe(upstream);
  });

  test.each(['DELETE', 'PATCH', 'OPTIONS', 'get', 'PROPFIND'])(
    '%s is told the methods there are, and no wider route takes it',
    (method) => {
      expect(upstreamOf(method)).toEqual({
        found: 'other-methods',
        allow: expect.arrayContaining(['GET', 'HEAD', 'POST', 'PUT']),
      });
    },
  );

  test('names no method twice', () => {
    const found = match([{ path: '/x', methods: ['GET', 'HEAD'] }], '/x', 'POST');
    expect(found).toEqual({ found: 'other-methods', allow: ['GET', 'HEAD'] });
  });

  test('a route for one method stands beside one for all the others', () => {
    const written = [{ path: '/repos/**', upstream: 'all' }, ...routes];
    expect(upstreamOf('GET', written)).toBe('reader');
    expect(upstreamOf('DELETE', written)).toBe('all');
    expect(upstreamOf('GET', [...written].reverse())).toBe('reader');
  });

  test('HEAD may have a route of its own', () => {
    const written = [
      { path: '/repos/**', methods: ['HEAD'], upstream: 'probe' },
      { path: '/repos/**', methods: ['POST'], upstream: 'writer' },
    ];
    expect(upstreamOf('HEAD', written)).toBe('probe');
    expect(upstreamOf('GET', written)).toMatchObject({ found: 'other-methods' });
  });
});

describe('names that objects have by themselves', () => {
  test.each(['/__proto__', '/constructor/prototype', '/toString', '/hasOwnProperty/x'])(
    '%s is unrouted',
    (url) => {
      expect(match(['/api/**'], url)).toEqual({ found: 'nothing' });
    },
  );

  test.each(['/__proto__/**', '/constructor'])('%s can be routed', (path) => {
    expect(ruleOf([path], path.replace('/**', '/x'))).toBe(path);
  });
});

describe('routes that no request could tell apart', () => {
  test.each<[string, WrittenRoute, WrittenRoute]>([
    ['the same path twice', '/api/**', '/api/**'],
    ['paths that differ in case', '/api/**', '/API/**'],
    ['a slash at the end', '/api', '/api/'],
    ['a method in common', { path: '/a', methods: ['GET', 'POST'] }, { path: '/a', methods: ['POST'] }],
    ['HEAD, which GET includes', { path: '/a', methods: ['GET'] }, { path: '/a', methods: ['HEAD'] }],
    ['the same exact path', { path: '/Docs', caseSensitive: true }, { path: '/Docs', caseSensitive: true }],
  ])('are found: %s', (_what, first, second) => {
    const conflicts = routeConflicts(routesOf(['/other', first, second]));
    expect(conflicts).toEqual([
      { index: 2, message: expect.stringContaining(routesOf([first])[0]?.path ?? '') },
    ]);
  });

  test.each<[string, WrittenRoute, WrittenRoute]>([
    ['other segments', '/api/a', '/api/b'],
    ['a star and a word', '/api/*', '/api/a'],
    ['one and any number', '/api/*', '/api/**'],
    ['none and any number', '/api', '/api/**'],
    ['other methods', { path: '/a', methods: ['GET'] }, { path: '/a', methods: ['POST'] }],
    ['one method and all', { path: '/a', methods: ['GET'] }, '/a'],
  ])('are not seen in %s', (_what, first, second) => {
    expect(routeConflicts(routesOf([first, second]))).toEqual([]);
  });
});

describe('a pattern', () => {
  test.each([
    '/',
    '/**',
    '/api',
    '/api/',
    '/api/**',
    '/api/*/x',
    '/*',
    "/~a/-._!$&'()+,=:@",
    '/.well-known/x',
  ])('may read %s', (pattern) => {
    expect(patternFault(pattern)).toBeNull();
  });

  test.each([
    '',
    'api',
    '*',
    '**',
    '/api*',
    '/api/*.json',
    '/api/**/x',
    '/**/x',
    '/a/***',
    '/a//b',
    '//',
    '/a//',
    '/a/./b',
    '/a/..',
    '/a b',
    '/a?b',
    '/a#b',
    '/a;b',
    '/a\\b',
    '/%61',
    '/caf\u00e9',
    '/a\nb',
  ])('may not read %j', (pattern) => {
    expect(patternFault(pattern)).toEqual(expect.any(String));
    expect(routeSchema.safeParse({ path: pattern, upstream: 'hub' }).success).toBe(false);
  });
});

describe('the path the upstream is asked for', () => {
  const sent = (route: WrittenRoute, url: string) => {
    const found = match([route], url);
    return found.found === 'route' ? upstreamPath(found.route, targetOf(url)) : found;
  };

  test.each(['/api/%61dmin', '/API/caf%c3%a9/', '/api/%7Ex%23', '/api/100%25'])(
    'is the one that was judged, byte for byte: %s',
    (url) => {
      expect(sent('/api/**', url)).toBe(url);
      expect(sent('/api/**', `${url}?x=%61`)).toBe(url);
    },
  );

  test.each([
    ['/github', '/'],
    ['/github/', '/'],
    ['/github/user', '/user'],
    ['/github/user/', '/user/'],
    ['/GitHub/user', '/user'],
    ['/git%68ub/us%65r', '/us%65r'],
    ['/%67%69%74%68%75%62/user', '/user'],
    ['/github/github/user', '/github/user'],
  ])('lacks the prefix: %s becomes %s', (url, path) => {
    expect(sent({ path: '/github/**', stripPrefix: '/github' }, url)).toBe(path);
  });

  test('lacks a prefix of several segments', () => {
    const route = { path: '/v1/github/**', stripPrefix: '/v1/github' };
    expect(sent(route, '/v1/github/repos/a')).toBe('/repos/a');
    expect(sent(route, '/V%31/github')).toBe('/');
  });
});

describe('a rewritten path', () => {
  const sent = (path: string, rewrite: string, url: string) => {
    const found = match([{ path, rewrite }], url);
    return found.found === 'route' ? upstreamPath(found.route, targetOf(url)) : found.found;
  };

  test.each([
    ['/old/**', '/v2/items', '/old', '/v2/items'],
    ['/old/**', '/v2/items', '/old/', '/v2/items/'],
    ['/old/**', '/v2/items', '/old/7/x', '/v2/items/7/x'],
    ['/old/**', '/v2/items', '/OLD/%37', '/v2/items/%37'],
    ['/old/**', '/v2/items', '/%6Fld/7', '/v2/items/7'],
    ['/a/b/**', '/c', '/%61/%62/d', '/c/d'],
    ['/a/*/c/**', '/z', '/a/b/c/d', '/z/b/c/d'],
    ['/*/c', '/z', '/b/c', '/z/b/c'],
    ['/**', '/z', '/', '/z/'],
    ['/**', '/z', '/b', '/z/b'],
    ['/exact/path', '/other', '/exact/path', '/other'],
    ['/exact/path', '/other', '/exact/path/', '/other'],
    ['/exact/path', '/', '/EXACT/p%61th', '/'],
    ['/old/**', '/', '/old/7', '/7'],
    ['/old/**', '/', '/old', '/'],
    ['/', '/other', '/', '/other'],
  ])('of %s begins with %s: %s becomes %s', (path, rewrite, url, expected) => {
    expect(sent(path, rewrite, url)).toBe(expected);
    expect(targetOf(expected).path).toBe(expected);
  });

  test.each([
    ...['', 'x', '/x/', '//x', '/x//y', '/./x', '/x/..', '/x/../y', '/x?y', '/x#y', '/x;y', '/x%2fy', '/x y'],
    ...['/*', '/x/**', '/x\\y', '/caf\u00e9', '//', '/.', 'http://x/y'],
  ])('cannot begin with %j', (rewrite) => {
    expect(routeSchema.safeParse({ path: '/x/**', upstream: 'hub', rewrite }).success).toBe(false);
  });
});

describe('hosts', () => {
  const routes = [
    { path: '/**', upstream: 'any' },
    { path: '/api/**', upstream: 'any-api' },
    { path: '/docs/**', hosts: ['docs.example.com', 'doc.example.com'], upstream: 'docs' },
    { path: '/**', hosts: ['*.example.com'], upstream: 'sub' },
    { path: '/**', hosts: ['*.b.example.com'], upstream: 'sub-b' },
    { path: '/api/**', methods: ['GET'], hosts: ['api.example.com'], upstream: 'api' },
  ];
  const upstreamOf = (host: string, url = '/x', method = 'GET') => {
    const found = match(routes, url, method, host);
    return found.found === 'route' ? found.route.upstream : found.found;
  };

  test.each([
    ['docs.example.com', '/docs/x', 'docs'],
    ['DOC.example.com:8080', '/docs/x', 'docs'],
    ['docs.example.com.', '/docs/x', 'docs'],
    ['docs.example.com', '/x', 'sub'],
    ['a.example.com', '/api/x', 'sub'],
    ['a.b.example.com', '/x', 'sub-b'],
    ['b.example.com', '/x', 'sub'],
    ['a.c.example.com', '/x', 'sub'],
    ['api.example.com', '/api/x', 'api'],
    ['example.com', '/x', 'any'],
    ['example.com', '/api/x', 'any-api'],
    ['docs.example.com.evil.example', '/docs/x', 'any'],
    ['evildocs.example.org', '/docs/x', 'any'],
    ['xexample.com', '/x', 'any'],
    ['', '/x', 'any'],
    ['127.0.0.1:8080', '/api/x', 'any-api'],
    ['__proto__', '/x', 'any'],
  ])('%j with %s goes to %s', (host, url, upstream) => {
    expect(upstreamOf(host, url)).toBe(upstream);
  });

  test('a method a host’s route does not have is not taken by a wider route', () => {
    expect(upstreamOf('api.example.com', '/api/x', 'POST')).toBe('other-methods');
  });

  test('a host that no route names is 404 where every route names hosts', () => {
    const written = [{ path: '/**', hosts: ['hub.example.com'] }];
    expect(match(written, '/x', 'GET', 'hub.example.com')).toMatchObject({ found: 'route' });
    for (const host of ['', 'x.hub.example.com', 'hub.example.com.evil.example', 'example.com'])
      expect(match(written, '/x', 'GET', host), host).toEqual({ found: 'nothing' });
  });

  test('name the route in the log beside its path', () => {
    expect(match(routes, '/docs/x', 'GET', 'docs.example.com')).toMatchObject({
      route: { name: 'docs.example.com,doc.example.com/docs/**', pattern: '/docs/**' },
    });
  });

  test.each<[string, string[] | undefined, string[] | undefined, number]>([
    ['one in common', ['a.example', 'b.example'], ['b.example'], 1],
    ['the same wildcard', ['*.example'], ['*.example'], 1],
    ['none at all', undefined, undefined, 1],
    ['different ones', ['a.example'], ['b.example'], 0],
    ['a name and a wildcard over it', ['a.example'], ['*.example'], 0],
    ['some and none', ['a.example'], undefined, 0],
  ])('two routes of one path with %s', (_what, first, second, conflicts) => {
    const written = [first, second].map((hosts) => ({ path: '/x', hosts }));
    expect(routeConflicts(routesOf(written))).toHaveLength(conflicts);
  });
});

describe('a route that opts in', () => {
  const lenient = { encodedSlashes: 'allow', pathParameters: 'allow' };
  const codeOf = (written: readonly WrittenRoute[], url: string, method = 'GET') => {
    const found = match(written, url, method);
    if (found.found === 'route') return found.route.name;
    return found.found === 'ambiguous' ? found.reason : found.found;
  };

  test.each([
    ['/files/a%2fb', '/files/**'],
    ['/files/a%2Fb/c', '/files/**'],
    ['/files/a;v=1/b', '/files/**'],
    ['/files/a%3bv', '/files/**'],
    ['/files/a;x%2fy', '/files/**'],
    ['/files/a%2f', '/files/**'],
    ['/FILES/%61%2fb', '/files/**'],
  ])('takes %s, whose readings all lead to it', (url, route) => {
    const written = [{ path: '/files/**', ...lenient }, '/**'];
    expect(codeOf(written, url)).toBe(route);
    const found = match(written, url);
    expect(found.found === 'route' && upstreamPath(found.route, targetOf(url))).toBe(url);
  });

  test.each([
    ['/files%2fa', 'encoded-slash'],
    ['/files;x/a', 'path-parameter'],
    ['/files/a%2fadmin', 'encoded-slash'],
    ['/files/secret;x', 'path-parameter'],
    ['/files/secret%2fx', 'encoded-slash'],
    ['/files/x;/../y', 'dot-segment'],
    ['/files/..;/y', 'path-parameter'],
    ['/other/a%2fb', 'encoded-slash'],
    ['/other/a;b', 'path-parameter'],
    ['/strict/a%2fb', 'encoded-slash'],
    ['/nowhere%2f', 'encoded-slash'],
    ['/api/auth/sign-out;x', 'path-parameter'],
    ['/api/auth/ok%2f', 'encoded-slash'],
    ['/api/auth/admin%2fban-user', 'encoded-slash'],
  ])('does not take %s: %s', (url, reason) => {
    const written = [
      { path: '/files/**', ...lenient },
      { path: '/files/secret/**', ...lenient },
      { path: '/files/*/admin', ...lenient },
      '/strict/**',
      { path: '/api/auth/*', ...lenient },
      '/api/auth/*/**',
    ];
    const parsed = parseTarget(url);
    expect(parsed.ok ? codeOf(written, url) : parsed.reason).toBe(reason);
  });

  test('to one takes not the other', () => {
    const slashes = [{ path: '/**', encodedSlashes: 'allow' }];
    const parameters = [{ path: '/**', pathParameters: 'allow' }];
    expect(codeOf(slashes, '/a%2fb')).toBe('/**');
    expect(codeOf(slashes, '/a;b')).toBe('path-parameter');
    expect(codeOf(slashes, '/a%2fb;c')).toBe('path-parameter');
    expect(codeOf(parameters, '/a;b')).toBe('/**');
    expect(codeOf(parameters, '/a%2fb')).toBe('encoded-slash');
    expect(codeOf(parameters, '/a%2fb;c')).toBe('path-parameter');
  });

  test('takes nothing under the gateway’s own paths', () => {
    const written = [{ path: '/**', ...lenient }];
    for (const url of [
      ...[
        '/api/auth/sign-out;x',
        '/api/auth%2fsign-out',
        '/api%2fauth%2fsign-out',
        '/API;x/auth/ok',
        '/_gateway;x',
      ],
      ...['/_gateway%2fsign-in', '/api/user-scopes;', '/api/user-scopes%2f', '/.well-known%2fjwks.json'],
      ...['/api/auth/admin%2fx', '/api/auth/admin;/x', '/api/auth/sign-out/;x'],
    ]) {
      const parsed = parseTarget(url);
      if (parsed.ok) expect(codeOf(written, url), url).toMatch(/^(encoded-slash|path-parameter)$/);
    }
    expect(codeOf(written, '/api/auth/subscription;x')).toBe('/**');
  });

  test('judges every reading by the method and the host of the request', () => {
    const written = [
      { path: '/files/**', methods: ['GET'], ...lenient },
      { path: '/files/*/b', methods: ['POST'], ...lenient },
      { path: '/files/**', hosts: ['docs.example.com'], upstream: 'docs' },
    ];
    expect(codeOf(written, '/files/x%2fy')).toBe('/files/**');
    expect(codeOf(written, '/files/x%2fy', 'PUT')).toBe('encoded-slash');
    expect(codeOf(written, '/files/a%2fb')).toBe('encoded-slash');
    expect(match(written, '/files/x%2fy', 'GET', 'docs.example.com')).toMatchObject({ found: 'ambiguous' });
  });
});

test.each([
  ['a path without', '/github/'],
  ['whole segments', 'github'],
  ['no stars', '/*'],
  ['no root', '/'],
])('stripPrefix must be %s', (_what, stripPrefix) => {
  expect(routeSchema.safeParse({ path: '/github/**', upstream: 'hub', stripPrefix }).success).toBe(false);
});

test('the access of a route is session unless it says more', () => {
  const [route] = routesOf(['/x']);
  expect(route?.access).toBe('session');
  const found = match(['/x'], '/x');
  expect(found).toMatchObject({ route: { access: { kind: 'session', scopes: [], roles: [] } } });
});

test.each([{ roles: ['admin'] }, { scopes: ['repo'] }, {}])(
  '%j asks for a session, and unknown scopes are refused',
  (access) => {
    expect(match([{ path: '/x', access }], '/x')).toMatchObject({
      route: { access: { kind: 'session', unknownScopes: 'deny', ...access } },
    });
  },
);

test.each([
  'Public',
  'none',
  '',
  true,
  null,
  ['public'],
  { scope: ['repo'] },
  { roles: 'admin' },
  { roles: ['a,b'] },
])('refuses %j as access', (access) => {
  expect(routeSchema.safeParse({ path: '/x', upstream: 'hub', access }).success).toBe(false);
});
