import { expect, test } from 'vitest';
import { missingScopes } from '../../src/policy/scopes.ts';

test.each([
  ['repo', ['repo:status', 'repo_deployment', 'public_repo', 'repo:invite', 'security_events']],
  ['admin:repo_hook', ['write:repo_hook', 'read:repo_hook']],
  ['write:repo_hook', ['read:repo_hook']],
  ['admin:org', ['write:org', 'read:org', 'manage_runners:org']],
  ['write:org', ['read:org']],
  ['admin:public_key', ['write:public_key', 'read:public_key']],
  ['write:public_key', ['read:public_key']],
  ['user', ['read:user', 'user:email', 'user:follow']],
  ['project', ['read:project']],
  ['write:packages', ['read:packages']],
  ['write:discussion', ['read:discussion']],
  ['admin:gpg_key', ['write:gpg_key', 'read:gpg_key']],
  ['write:gpg_key', ['read:gpg_key']],
])('%s contains %j, and none of them contains it', (wide, contained) => {
  expect(missingScopes(contained, [wide])).toEqual([]);
  expect(missingScopes([wide], contained)).toEqual([wide]);
});

test.each([
  ['repo', 'public_repo'],
  ['workflow', 'repo'],
  ['delete_repo', 'repo'],
  ['admin:org_hook', 'admin:org'],
  ['read:repo_hook', 'repo'],
  ['delete:packages', 'write:packages'],
  ['write:org', 'read:org'],
  ['repo', 'user'],
  ['Repo', 'repo'],
  ['repo:', 'repo'],
])('%s is not in %s', (required, granted) => {
  expect(missingScopes([required], [granted])).toEqual([required]);
});

test('keeps the order in which the missing ones were required', () => {
  expect(missingScopes(['workflow', 'read:org', 'gist'], ['repo', 'gist'])).toEqual(['workflow', 'read:org']);
});

test('asks for nothing where nothing is required', () => {
  expect(missingScopes([], [])).toEqual([]);
});

test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
  'a scope named %s contains only itself',
  (scope) => {
    expect(missingScopes(['repo', scope], [scope])).toEqual(['repo']);
  },
);
