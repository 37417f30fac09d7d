import { expect, test } from 'vitest';
import { choose, readArguments } from '../../bench/arguments.ts';
import { coreOf, readList } from '../../bench/cores.ts';
import { SCENARIOS } from '../../bench/scenarios.ts';

test.each([
  { args: [], order: { kind: 'run', quick: false, only: '', check: false } },
  { args: ['--quick', '--only', 'floor'], order: { kind: 'run', quick: true, only: 'floor', check: false } },
  { args: ['--check'], order: { kind: 'run', quick: false, only: '', check: true } },
  { args: ['--report'], order: { kind: 'report' } },
  {
    args: ['--url', 'https://hub.example.com/api', '--header', 'x-trace: 1', '--header', 'Accept: a: b'],
    order: {
      kind: 'deployment',
      url: 'https://hub.example.com/api',
      method: 'GET',
      headers: { 'x-trace': '1', Accept: 'a: b' },
      connections: 10,
      seconds: 10,
    },
  },
  {
    args: ['--url', 'http://127.0.0.1:1/', '--cookie', 'a=b', '--method', 'post', '--connections', '64'],
    order: { kind: 'deployment', cookie: 'a=b', method: 'POST', connections: 64 },
  },
])('$args is understood', ({ args, order }) => {
  expect(readArguments(args)).toMatchObject(order);
});

test.each([
  ['--url', 'hub.example.com'],
  ['--url', 'ftp://hub.example.com'],
  ['--connections', '100000'],
  ['--duration', '0'],
  ['--header', 'no colon'],
  ['--unknown'],
])('%s %s is refused with a word', (...args) => {
  expect(() => readArguments(args)).toThrow(/^error: /);
});

test('scenarios are chosen with those of their contenders that are asked for', () => {
  const chosen = choose(SCENARIOS, (label) => label.includes('half load: node:http'));
  expect(chosen.map(({ name, contenders }) => [name, contenders.map((each) => each.name)])).toEqual([
    ['GET 1 KB at half load', ['node:http + undici (floor)']],
  ]);
});

test('the server has a core to itself, and the others share what is left', () => {
  const roles = ['server', 'upstream', 'load', 'stores'] as const;
  expect(roles.map((role) => coreOf(role, [0, 1]))).toEqual([0, 1, 1, 1]);
  expect(roles.map((role) => coreOf(role, readList('4-6')))).toEqual([4, 5, 6, 6]);
  expect(roles.map((role) => coreOf(role, readList('0,2,5-8')))).toEqual([0, 2, 5, 6]);
});
