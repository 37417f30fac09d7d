import { describe, expect, test } from 'vitest';
import {
  compileCors,
  corsHeaders,
  corsSchema,
  preflightHeaders,
  trustsOrigin,
} from '../../src/policy/cors.ts';
import { report } from '../support/figures.ts';

const APP = 'https://app.example.com';

function policyOf(options: object, methods: readonly string[] | null = null) {
  return compileCors(corsSchema.parse({ origins: [APP], ...options }), methods && new Set(methods));
}

/** Look-alikes of the one origin that is listed. */
const LOOK_ALIKES = [
  ...['null', '', '*', 'https://evil.example', 'http://app.example.com', 'https://app.example.com:8443'],
  ...[
    'https://app.example.com:443',
    'https://app.example.com/',
    'https://app.example.com.',
    'https://APP.example.com',
  ],
  ...['https://app.example.com.evil.example', 'https://evilapp.example.com', 'https://x.app.example.com'],
  ...['https://example.com', 'https://app.example.co', 'https://app-example.com', 'https://appXexample.com'],
  ...[
    'https://app.example.com@evil.example',
    'https://app.example.com, https://evil.example',
    'app.example.com',
  ],
  ...['https://evil.example, https://app.example.com', 'https://app.example.com https://evil.example'],
  ...[
    'https://app.example.com%00.evil.example',
    'https://app.example.com`.evil.example',
    'file://',
    'https://',
  ],
];

describe('the headers of an answer', () => {
  test('name the origin that asks, if it is listed, and vary by it', () => {
    expect(corsHeaders(policyOf({}), 'GET', APP)).toEqual([
      ...['Vary', 'Origin', 'Access-Control-Allow-Origin', APP],
    ]);
    expect(corsHeaders(policyOf({ credentials: true, exposeHeaders: ['etag', 'x-a'] }), 'GET', APP)).toEqual([
      ...['Vary', 'Origin', 'Access-Control-Allow-Origin', APP, 'Access-Control-Allow-Credentials', 'true'],
      ...['Access-Control-Expose-Headers', 'etag, x-a'],
    ]);
  });

  test('tell a look-alike, null or nobody nothing, but vary all the same', (context) => {
    let told = 0;
    for (const options of [{}, { credentials: true }])
      for (const origin of [...LOOK_ALIKES, undefined]) {
        const policy = policyOf(options);
        const headers = [...corsHeaders(policy, 'GET', origin), ...preflightHeaders(policy, origin ?? '')];
        if (headers.some((name) => /^access-control/i.test(name))) told++;
        expect(headers, origin).toEqual(['Vary', 'Origin', 'Vary', 'Origin']);
        expect(trustsOrigin(policy, 'GET', origin), origin).toBe(false);
      }
    report(context, {
      'CORS look-alikes: tried': (LOOK_ALIKES.length + 1) * 2,
      'CORS look-alikes: told': told,
    });
  });

  test('allow everybody with * and never by name', () => {
    const policy = policyOf({ origins: ['*'] });
    for (const origin of [APP, 'null', undefined])
      expect(corsHeaders(policy, 'GET', origin)).toEqual([
        ...['Vary', 'Origin', 'Access-Control-Allow-Origin', '*'],
      ]);
    expect(trustsOrigin(policy, 'POST', APP)).toBe(false);
  });

  test('are for the methods that are listed, HEAD with GET', () => {
    const policy = policyOf({ methods: ['GET'], credentials: true });
    expect(corsHeaders(policy, 'HEAD', APP)).toContain(APP);
    expect(corsHeaders(policy, 'POST', APP)).toEqual(['Vary', 'Origin']);
    expect(trustsOrigin(policy, 'POST', APP)).toBe(false);
    expect(trustsOrigin(policy, 'GET', APP)).toBe(true);
  });
});

describe('the answer to a preflight', () => {
  test('lists methods, headers and its life in seconds', () => {
    const options = { methods: ['GET', 'PUT'], headers: ['x-trace'], credentials: true, maxAge: '1h' };
    expect(preflightHeaders(policyOf(options), APP)).toEqual([
      ...['Vary', 'Origin', 'Access-Control-Allow-Origin', APP, 'Access-Control-Allow-Credentials', 'true'],
      ...['Access-Control-Allow-Methods', 'GET, PUT, HEAD', 'Access-Control-Allow-Headers', 'x-trace'],
      ...['Access-Control-Max-Age', '3600'],
    ]);
  });

  test('lists the methods of the route unless others are given, and content-type', () => {
    const headers = preflightHeaders(policyOf({}, ['POST']), APP);
    expect(headers).toEqual(expect.arrayContaining(['POST', 'content-type', '600']));
    expect(preflightHeaders(policyOf({}), APP)).toContain('GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS');
    expect(preflightHeaders(policyOf({ headers: [] }), APP)).not.toContain('Access-Control-Allow-Headers');
  });
});

test('pages are trusted with cookies only where credentials are', () => {
  expect(trustsOrigin(policyOf({ credentials: true }), 'POST', APP)).toBe(true);
  expect(trustsOrigin(policyOf({}), 'POST', APP)).toBe(false);
  expect(trustsOrigin(policyOf({ credentials: true }, ['GET']), 'POST', APP)).toBe(false);
  expect(trustsOrigin(policyOf({ credentials: true }), 'PROPFIND', APP)).toBe(false);
});

test.each([
  {},
  { origins: [] },
  { origins: ['null'] },
  { origins: ['*', APP] },
  { origins: ['*'], credentials: true },
  { origins: ['https://*.example.com'] },
  { origins: [`${APP}/`] },
  { origins: [APP], methods: [] },
  { origins: [APP], methods: ['FETCH'] },
  { origins: [APP], headers: ['*'] },
  { origins: [APP], headers: ['a b'] },
  { origins: [APP], exposeHeaders: ['a\r\nb'] },
  { origins: [APP], maxAge: '0s' },
  { origins: [APP], origin: APP },
])('refuses %j', (options) => {
  expect(corsSchema.safeParse(options).success).toBe(false);
});
