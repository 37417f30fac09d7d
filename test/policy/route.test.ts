import { describe, expect, test } from 'vitest';
import { upstreamPath } from '../../src/policy/route.ts';
import {
  patternFault,
  type RouteOptions,
  routeConflicts,
  routeSchema,
} from '../../src/policy/route-options.ts';
import { createRouteTable, type RouteMatch } from '../../src/policy/route-table.ts';
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
