import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import * as z from 'zod';
import { configJsonSchema, fileSchema } from '../../src/config/schema.ts';

const CONFIG = join(import.meta.dirname, '../../config');
const published = JSON.parse(readFileSync(join(CONFIG, 'gateway.schema.json'), 'utf8'));
const byPublished = z.fromJSONSchema(published);

test('config/gateway.schema.json is current: npm run schema writes it', () => {
  expect(published).toEqual(JSON.parse(JSON.stringify(configJsonSchema())));
});

const HUB = { targets: ['http://127.0.0.1:3000'] };
const SMALLEST = { upstreams: { hub: HUB }, routes: [{ path: '/**', upstream: 'hub' }] };

function withRoute(more: object) {
  return { ...SMALLEST, routes: [{ path: '/**', upstream: 'hub', ...more }] };
}

function withUpstream(more: object) {
  return { ...SMALLEST, upstreams: { hub: { ...HUB, ...more } } };
}

describe('editors, which have the JSON Schema, and the gateway agree that', () => {
  test.each([
    ['the smallest file', SMALLEST],
    ['the documented example', parse(readFileSync(join(import.meta.dirname, 'example.yaml'), 'utf8'))],
    ['a public route', withRoute({ access: 'public' })],
    ['an empty access', withRoute({ access: {} })],
    [
      'roles and scopes',
      withRoute({ access: { roles: ['admin'], scopes: ['repo'], unknownScopes: 'allow' } }),
    ],
    ['methods', withRoute({ methods: ['GET', 'OPTIONS'] })],
    ['hosts', withRoute({ hosts: ['hub.example.com', '*.example.com'] })],
    ['a rewrite', withRoute({ rewrite: '/x' })],
    ['opt-ins', withRoute({ encodedSlashes: 'allow', pathParameters: 'allow', crossSite: 'allow' })],
    ['cors', withRoute({ cors: { origins: ['https://a.example'], credentials: true, maxAge: '1h' } })],
    ['limits', withRoute({ maxBodySize: '10mb', timeouts: { idle: '1h' }, reportOnly: true })],
    ['timeouts', withUpstream({ timeouts: { idle: '1h' } })],
    ['a health check', withUpstream({ health: { path: '/healthz' } })],
    ['another preset', withUpstream({ identity: 'remote' })],
    ['a token format', { ...SMALLEST, githubTokens: { format: 'better-auth' } }],
  ])('%s is valid', (_what, document) => {
    expect(fileSchema.safeParse(document).success).toBe(true);
    expect(byPublished.safeParse(document).success).toBe(true);
  });

  test.each([
    ['nothing', null],
    ['a list', []],
    ['an empty file', {}],
    ['no routes', { upstreams: { hub: HUB } }],
    ['an empty list of routes', { ...SMALLEST, routes: [] }],
    ['an unknown key', { ...SMALLEST, route: [] }],
    ['a route without a path', { ...SMALLEST, routes: [{ upstream: 'hub' }] }],
    ['an unknown access', withRoute({ access: 'everyone' })],
    ['an unknown key of access', withRoute({ access: { role: ['admin'] } })],
    ['a scope with a blank', withRoute({ access: { scopes: ['a b'] } })],
    ['an unknown method', withRoute({ methods: ['FETCH'] })],
    ['a prefix without its slash', withRoute({ stripPrefix: 'github' })],
    ['a host with a port', withRoute({ hosts: ['hub.example.com:80'] })],
    ['a size without a unit', withRoute({ maxBodySize: '10' })],
    ['an opt-in by true', withRoute({ encodedSlashes: true })],
    ['cors without origins', withRoute({ cors: { credentials: true } })],
    ['an unknown key of cors', withRoute({ cors: { origins: ['*'], origin: '*' } })],
    ['an upstream without targets', { ...SMALLEST, upstreams: { hub: {} } }],
    ['an upstream called Hub', { ...SMALLEST, upstreams: { Hub: HUB } }],
    ['an unknown preset', withUpstream({ identity: 'nginx' })],
    ['a duration without a unit', withUpstream({ timeouts: { idle: '5' } })],
    ['a duration as a number', withUpstream({ timeouts: { idle: 5 } })],
    ['an unknown token format', { ...SMALLEST, githubTokens: { format: 'plain' } }],
  ])('%s is not', (_what, document) => {
    expect(fileSchema.safeParse(document).success).toBe(false);
    expect(byPublished.safeParse(document).success).toBe(false);
  });
});
