// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration file has variables of this form
import { describe, expect, test } from 'vitest';
import { readConfigText } from '../../src/config/file.ts';

function read(text: string, env: Record<string, string> = {}) {
  return readConfigText(text, 'gateway.yaml', env);
}

function substituted(text: string, env: Record<string, string> = {}): unknown {
  const file = read(text, env);
  expect(file.faults).toEqual([]);
  return (file.data as { key: unknown }).key;
}

describe('${NAME}', () => {
  test.each([
    ['key: ${A}', { A: 'x' }, 'x'],
    ['key: "${A}"', { A: 'x' }, 'x'],
    ["key: '${A}'", { A: 'x' }, 'x'],
    ['key: http://${A}:${B}/', { A: 'host', B: '80' }, 'http://host:80/'],
    ['key: ["${A}"]', { A: 'x' }, ['x']],
    ['key: { inner: "${A}" }', { A: 'x' }, { inner: 'x' }],
    ['key: |\n  ${A}\n', { A: 'x' }, 'x\n'],
    ['key: ${_A1}', { _A1: 'x' }, 'x'],
    ['key: ${A:-b}', { A: 'x' }, 'x'],
    ['key: ${A:-b}', {}, 'b'],
    ['key: ${A:-b}', { A: '' }, 'b'],
    ['key: "${A:-}"', {}, ''],
    ['key: "${A:-http://127.0.0.1:3000}"', {}, 'http://127.0.0.1:3000'],
    ['key: "${A:-a b: c}"', {}, 'a b: c'],
    ['key: "${A}${A}"', { A: 'x' }, 'xx'],
  ])('in %j with %j gives %j', (text, env, value) => {
    expect(substituted(text, env)).toEqual(value);
  });

  test.each([
    ['key: ${A}', '8080', 8080],
    ['key: ${A}', 'true', true],
    ['key: ${A}', 'false', false],
    ['key: "${A}"', '8080', '8080'],
    ['key: "${A}"', 'true', 'true'],
    ['key: ${A}', 'null', 'null'],
    ['key: ${A}', '~', '~'],
    ['key: ${A}', '1e3', '1e3'],
  ])('%j of %j is %j, as if it stood there', (text, A, value) => {
    expect(substituted(text, { A })).toBe(value);
  });

  test.each(['key: "$${A}"', "key: '$${A}'", 'key: $${A}'])('is written %s to stay as it is', (text) => {
    expect(substituted(text, { A: 'x' })).toBe('${A}');
  });

  test.each(['$A', '${}', '${1A}', '${A-B}', '${A', '$(A)', '{A}', '%A%'])('is not seen in %j', (text) => {
    expect(substituted(`key: "${text}"`, { A: 'x', B: 'y' })).toBe(text);
  });

  test('is not looked for in comments', () => {
    expect(substituted('key: x # ${MISSING}\n# ${MISSING}\n')).toBe('x');
  });

  test('is filled in once: a value that holds another stays', () => {
    expect(substituted('key: "${A}"', { A: '${B}', B: 'x' })).toBe('${B}');
    expect(substituted('key: "${A}"', { A: '$${B}' })).toBe('$${B}');
  });

  test.each(['$&', '$1', '$$', "$'", '$`'])('takes %j as it is', (A) => {
    expect(substituted('key: "a${A}b"', { A })).toBe(`a${A}b`);
  });
});

describe('a value from the environment adds nothing but itself', () => {
  test.each([
    'x\nadmins: [mallory]',
    'x }, { path: /**, access: public',
    '[a, b]',
    '{ a: 1 }',
    '- a',
    '*anchor',
    '&anchor x',
    '!!binary aGk=',
    '"quoted"',
    "it's",
    '# comment',
    'x: y',
    '| ',
    '---\na: 1',
    '\u2028',
    '<<: { a: 1 }',
  ])('%j', (A) => {
    for (const text of ['key: ${A}', 'key: "${A}"', "key: '${A}'"]) {
      expect(read(text, { A }).data).toEqual({ key: A });
      expect(Object.keys(read(text, { A }).data as object)).toEqual(['key']);
    }
    expect(read('list: ["${A}", b]', { A }).data).toEqual({ list: [A, 'b'] });
  });

  test('not as a key, either', () => {
    expect(read('"${A}": 1\nb: 2', { A: 'x: { y: z }' }).data).toEqual({ 'x: { y: z }': 1, b: 2 });
  });
});

describe('a variable that is missing', () => {
  test('is told with its place, and each one of them', () => {
    const { faults } = read('a: 1\nb: { c: "${ONE}", d: ["${TWO}"] }\ne: ${ONE}${THREE}\n', { ONE: '' });
    expect(faults.map(({ place }) => place)).toEqual([
      'gateway.yaml:2:9',
      'gateway.yaml:2:23',
      'gateway.yaml:3:4',
      'gateway.yaml:3:4',
    ]);
    expect(faults.map(({ message }) => /variable (\w+) is not set/.exec(message)?.[1])).toEqual([
      'ONE',
      'TWO',
      'ONE',
      'THREE',
    ]);
  });

  test('says how to write a default', () => {
    expect(read('a: ${ONE}').faults[0]?.message).toContain('${ONE:-default}');
  });
});

describe('YAML that is none', () => {
  test.each([
    ['a: [1, 2\n', 'gateway.yaml:2:1'],
    ['\ta: 1\n', 'gateway.yaml:1:1'],
    ['a: 1\na: 2\n', 'gateway.yaml:2:1'],
    ['a: "x\n', 'gateway.yaml:2:1'],
    ['a: 1\n---\nb: 2\n', 'gateway.yaml:2:1'],
    ['a: 1\nb: *nowhere\n', 'gateway.yaml:2:4'],
  ])('is told with its place: %j', (text, place) => {
    const file = read(text);
    expect(file.data).toBeUndefined();
    expect(file.faults).toEqual(expect.arrayContaining([{ place, message: expect.stringMatching(/\w/) }]));
  });

  test('is told all at once', () => {
    const { faults } = read('a: 1\na: 2\nb: 1\nb: 2\n');
    expect(faults.map(({ place }) => place)).toEqual(['gateway.yaml:2:1', 'gateway.yaml:4:1']);
  });

  test('is aliases that multiply without end', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let at = 1; at < 9; at++)
      lines.push(`a${at}: &a${at} [${Array.from({ length: 10 }, () => `*a${at - 1}`).join(', ')}]`);
    const file = read(lines.join('\n'));
    expect(file.data).toBeUndefined();
    expect(file.faults).toEqual([{ place: 'gateway.yaml:1:1', message: expect.stringContaining('aliases') }]);
  });
});

test('an anchor and its alias are one value', () => {
  expect(read('a: &t { x: "${A}" }\nb: *t\n', { A: 'y' }).data).toEqual({ a: { x: 'y' }, b: { x: 'y' } });
});

test('keys that objects have by themselves change no object', () => {
  const { data } = read('__proto__: { polluted: true }\nconstructor: 1\n');
  expect(Object.keys(data as object)).toEqual(['__proto__', 'constructor']);
  expect({}).not.toHaveProperty('polluted');
});

describe('the place of', () => {
  const file = read('routes:\n  - path: /a\n    access: { roles: [x] }\n  - { path: /b }\nlast: 1\n');

  test.each([
    ['a value', ['routes', 0, 'path'], undefined, '2:11'],
    ['a value deep inside', ['routes', 0, 'access', 'roles', 0], undefined, '3:23'],
    ['an entry of a list', ['routes', 1], undefined, '4:5'],
    ['a key', ['routes', 0], 'access', '3:5'],
    ['a key of the file', [], 'last', '5:1'],
    ['what is missing is that of its parent', ['routes', 1, 'upstream'], undefined, '4:5'],
    ['a key that is missing, too', ['routes', 1], 'nothing', '4:5'],
    ['nothing is that of the file', [], undefined, '1:1'],
  ])('%s', (_what, path, key, place) => {
    expect(file.place(path, key)).toBe(`gateway.yaml:${place}`);
  });
});
