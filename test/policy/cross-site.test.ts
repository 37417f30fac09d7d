import { describe, expect, test } from 'vitest';
import { isCrossSite, isSafeMethod } from '../../src/policy/cross-site.ts';

const trusted = new Set(['https://hub.example.com', 'https://app.example.com:8443']);

function from(origin: string | undefined, secFetchSite?: string): boolean {
  return isCrossSite({ origin, secFetchSite }, trusted);
}

test.each(['GET', 'HEAD', 'OPTIONS', 'TRACE'])('%s is safe', (method) => {
  expect(isSafeMethod(method)).toBe(true);
});

test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'QUERY', 'get', ''])('%j is not safe', (method) => {
  expect(isSafeMethod(method)).toBe(false);
});

test('neither header: not a browser', () => {
  expect(from(undefined)).toBe(false);
});

describe('what a browser says of the site', () => {
  test.each(['same-origin', 'none'])('%s passes, whatever the origin', (site) => {
    expect(from(undefined, site)).toBe(false);
    expect(from('https://evil.example', site)).toBe(false);
  });

  test.each(['cross-site', 'same-site', '', 'Same-Origin', 'same-origin, cross-site', 'future-value'])(
    '%j passes only with a trusted origin',
    (site) => {
      expect(from(undefined, site)).toBe(true);
      expect(from('https://evil.example', site)).toBe(true);
      expect(from('null', site)).toBe(true);
      expect(from('https://hub.example.com', site)).toBe(false);
      expect(from('https://app.example.com:8443', site)).toBe(false);
    },
  );
});

describe('an origin alone', () => {
  test.each(['https://hub.example.com', 'https://app.example.com:8443'])(
    'passes when trusted: %s',
    (origin) => {
      expect(from(origin)).toBe(false);
    },
  );

  test.each([
    'null',
    '',
    'https://evil.example',
    'http://hub.example.com',
    'https://hub.example.com:444',
    'https://app.example.com',
    'https://hub.example.com.evil.example',
    'https://evilhub.example.com',
    'https://x.hub.example.com',
    'https://example.com',
    'https://hub.example.com/',
    'https://hub.example.com@evil.example',
    'https://hub.example.com, https://evil.example',
    'https://hub.example.com https://evil.example',
    'https://h\u0443b.example.com',
    '*',
    'file://',
    'chrome-extension://hub.example.com',
  ])('is refused: %j', (origin) => {
    expect(from(origin)).toBe(true);
  });
});
