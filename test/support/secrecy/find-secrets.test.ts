import { expect, test } from 'vitest';
import { sign } from '../../../src/sessions/cookie.ts';
import { findSecrets } from './find-secrets.ts';

const SECRET = 'a-secret-for-tests-0123456789abcdefghij';
const SESSION = 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF';
const TOKEN = `gho_${'8eJifIFxhVOuYfSDLMej8JSuKMrlE2OVWvZU'}`;
const secrets = { fixed: new Map([[SECRET, 'auth secret']]), sessions: new Set([SESSION]) };
const kinds = (text: string, inSessionTable = false) => [
  ...new Set(findSecrets(text, secrets, inSessionTable).map(({ kind }) => kind)),
];

const spellings: [string, (secret: string) => string][] = [
  ['as it is', (secret) => secret],
  ['inside a word', (secret) => `abc${secret}xyz`],
  ['in base64', (secret) => Buffer.from(secret).toString('base64')],
  ['in base64url', (secret) => Buffer.from(secret).toString('base64url')],
  ['in base64 of something longer', (secret) => Buffer.from(`{"a":"${secret}"}`).toString('base64')],
  ['in escapes', (secret) => [...secret].map((each) => `%${each.charCodeAt(0).toString(16)}`).join('')],
];

test.each(spellings)('each kind of secret is found %s', (_name, spell) => {
  for (const [secret, kind] of [
    [SECRET, 'auth secret'],
    [SESSION, 'session token'],
    [TOKEN, 'GitHub token'],
  ] as const)
    expect(kinds(`{"msg":"before ${spell(secret)} after"}`)).toContain(kind);
});

test('a configured secret is found in hex', () => {
  expect(kinds(Buffer.from(SECRET).toString('hex'))).toEqual(['auth secret']);
});

test('in the table of sessions their tokens may stand, and nothing else', () => {
  expect(kinds(SESSION, true)).toEqual([]);
  expect(kinds(sign(SESSION, SECRET), true)).toEqual(['session cookie']);
  expect(kinds(decodeURIComponent(sign(SESSION, SECRET)), true)).toEqual(['session cookie']);
  expect(kinds(`${TOKEN} ${SECRET}`, true)).toEqual(['GitHub token', 'auth secret']);
});

test('what is cut short, encrypted, or of nobody, is no secret', () => {
  const other = SESSION.replace('a', 'b');
  const encrypted = `v1.s-abc.${'A'.repeat(16)}.${'B'.repeat(22)}.-x-${TOKEN}_C`;
  for (const text of [
    'gho_8eJi[redacted]',
    other,
    sign(other, SECRET),
    'v1.s-abc.AAAA.BBBB.CCCC',
    encrypted,
    `user:email${encrypted}`,
    `${TOKEN}AAA.{"session":1}`,
    '',
  ])
    expect(findSecrets(text, secrets)).toEqual([]);
});

test('beside what is encrypted a token is found', () => {
  expect(kinds(`v1.s-abc.${'A'.repeat(16)}.${'B'.repeat(22)}.CCCC,${TOKEN}`)).toEqual(['GitHub token']);
  expect(kinds(`${TOKEN}AAA.{"token":"${TOKEN}"}`)).toEqual(['GitHub token']);
});

test('no hit tells the secret', () => {
  const hits = findSecrets(`${SECRET} ${SESSION} ${TOKEN}`, secrets);
  expect(hits).toHaveLength(3);
  for (const secret of [SECRET, SESSION, TOKEN]) expect(JSON.stringify(hits)).not.toContain(secret);
});
