import { describe, expect, test } from 'vitest';
import { ERRORS, type ErrorCode, GatewayError, problemOf } from '../src/errors.ts';

/** The published table: clients tell failures apart by these codes and statuses. */
const PUBLISHED: Record<number, string[]> = {
  400: ['ambiguous-path', 'bad-request', 'email-unverified'],
  401: ['no-session-cookie', 'session-expired', 'session-invalid', 'reauth-required', 'github-token-invalid'],
  403: [
    'scope-missing',
    'scopes-unknown',
    'role-missing',
    'user-banned',
    'membership-missing',
    'github-access-denied',
    'cross-site-request',
    'impersonation-read-only',
  ],
  404: ['route-not-found'],
  405: ['method-not-allowed'],
  413: ['body-too-large'],
  415: ['unsupported-media-type'],
  429: ['rate-limited'],
  431: ['headers-too-large'],
  500: ['internal-error'],
  502: ['upstream-unreachable', 'upstream-broken', 'github-unavailable'],
  503: ['session-store-unavailable', 'upstream-unavailable', 'overloaded'],
  504: ['upstream-timeout'],
};
const published = Object.entries(PUBLISHED).flatMap(([status, codes]) =>
  codes.map((code) => [code, Number(status)] as const),
);
const codes = Object.keys(ERRORS) as ErrorCode[];

test.each(published)('%s is answered with %i', (code, status) => {
  expect(ERRORS).toHaveProperty(code);
  expect(new GatewayError(code as ErrorCode).status).toBe(status);
});

test('github-unavailable may be answered with 503, too', () => {
  expect(new GatewayError('github-unavailable', { status: 503 }).status).toBe(503);
});

describe.each(codes)('%s', (code) => {
  test('is a problem document of RFC 9457', () => {
    const error = new GatewayError(code);
    expect(problemOf(error, 'request-1')).toEqual({
      type: expect.stringMatching(/^(urn:|https?:).*[^/]$/),
      title: expect.stringMatching(/^\S.*\S$/),
      status: error.status,
      detail: expect.stringMatching(/^[A-Z].*[.]$/),
      code,
      requestId: 'request-1',
    });
  });

  test('reads in words: kebab-case, a status of a failure', () => {
    expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/);
    expect(ERRORS[code].status).toBeGreaterThanOrEqual(400);
    expect(ERRORS[code].status).toBeLessThan(600);
  });

  test('has a type of its own', () => {
    const types = codes.map((each) => problemOf(new GatewayError(each), 'x').type);
    expect(types.filter((type) => type === problemOf(new GatewayError(code), 'x').type)).toHaveLength(1);
  });
});

describe('Retry-After', () => {
  test.each(codes.filter((code) => ERRORS[code].status === 503))('goes with %s', (code) => {
    expect(new GatewayError(code).headers['retry-after']).toMatch(/^[1-9]\d*$/);
  });

  test.each([
    [60, '60'],
    [1.2, '2'],
    [0.1, '1'],
    [0, '1'],
    [-5, '1'],
  ])('of %d seconds reads %s', (retryAfterSeconds, text) => {
    expect(new GatewayError('rate-limited', { retryAfterSeconds }).headers).toEqual({ 'retry-after': text });
  });

  test.each(['no-session-cookie', 'user-banned', 'route-not-found', 'internal-error'] as const)(
    'does not go with %s, which waiting does not mend',
    (code) => {
      expect(new GatewayError(code).headers).toEqual({});
    },
  );
});

test('further members stand beside the registered ones', () => {
  const error = new GatewayError('scope-missing', {
    fields: { missingScopes: ['repo'], grantUrl: 'https://x/' },
  });
  expect(problemOf(error, 'request-1')).toMatchObject({
    code: 'scope-missing',
    missingScopes: ['repo'],
    grantUrl: 'https://x/',
  });
});

test.each(['type', 'title', 'status', 'detail', 'code', 'requestId'])(
  'a field cannot take the place of %s',
  (name) => {
    const plain = problemOf(new GatewayError('user-banned'), 'request-1');
    const error = new GatewayError('user-banned', { fields: { [name]: 'forged' } });
    expect(problemOf(error, 'request-1')).toEqual(plain);
  },
);

test('a field named __proto__ changes no other object', () => {
  const fields = JSON.parse('{"__proto__": {"polluted": true}}');
  const problem = problemOf(new GatewayError('user-banned', { fields }), 'request-1');
  expect(JSON.parse(JSON.stringify(problem)).status).toBe(403);
  expect({}).not.toHaveProperty('polluted');
});

test('the cause is kept for the log, and kept from the client', () => {
  const cause = new Error('connect ECONNREFUSED 10.0.0.7:5432');
  const error = new GatewayError('session-store-unavailable', { cause });
  expect(error.cause).toBe(cause);
  expect(JSON.stringify(problemOf(error, 'request-1'))).not.toContain('10.0.0.7');
  expect(error.message).not.toContain('10.0.0.7');
});

test('further headers come along', () => {
  const error = new GatewayError('method-not-allowed', { headers: { allow: 'GET, HEAD' } });
  expect(error.headers).toEqual({ allow: 'GET, HEAD' });
});

test('is an error with a stack and its code in its text', () => {
  const error = new GatewayError('bad-request', { detail: 'scopes must be a list.' });
  expect(error).toBeInstanceOf(Error);
  expect(error.name).toBe('GatewayError');
  expect(error.message).toBe('bad-request: scopes must be a list.');
  expect(problemOf(error, 'x').detail).toBe('scopes must be a list.');
});
