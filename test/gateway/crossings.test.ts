// Many people at once, on routes to several upstreams: each is announced as themselves, with their own token, and only
// to whom it is meant for.
import { Pool } from 'undici';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { signInWithGitHub } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { sendBytes } from '../support/raw-socket.ts';
import { scale, UNHURRIED } from '../support/scale.ts';

const REQUESTS = scale({ quick: 800, full: 100_000 });
const PEOPLE = scale({ quick: 40, full: 1000 });
const AT_ONCE = 64;
/** Whoever comes next is sent on whichever is free: each carries everybody's requests in turn. */
const CONNECTIONS = 16;
const SIGN_INS_AT_ONCE = 8;
const CONFIG = `
upstreams:
  forwarded: { targets: ["\${UPSTREAM}"], githubToken: forwarded }
  bearer: { targets: ["\${UPSTREAM}"], githubToken: bearer, identity: remote }
  plain: { targets: ["\${UPSTREAM}"] }
routes:
  - { path: /forwarded/**, upstream: forwarded }
  - { path: /bearer/**, upstream: bearer }
  - { path: /plain/**, upstream: plain }
  - { path: /optional/**, upstream: forwarded, access: optional }
  - { path: /public/**, upstream: plain, access: public }
`;

type Headers = Record<string, string | undefined>;

/** What an upstream may be told of somebody; null: nothing at all. */
const TOLD: Record<string, (person: { userId: string; token: string } | null) => Headers | null> = {
  '/forwarded/x': (person) =>
    person && { 'x-forwarded-user': person.userId, 'x-forwarded-access-token': person.token },
  '/bearer/x': (person) =>
    person && { 'remote-user': person.userId, authorization: `Bearer ${person.token}` },
  '/plain/x': (person) => person && { 'x-forwarded-user': person.userId },
  '/optional/x': (person) =>
    person ? { 'x-forwarded-user': person.userId, 'x-forwarded-access-token': person.token } : {},
  '/public/x': () => ({}),
};
const NAMES = ['x-forwarded-user', 'remote-user', 'x-forwarded-access-token', 'authorization'];

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ config: CONFIG, logLevel: 'error' });
});
afterAll(() => gateway?.close());

test('requests of many people at once cross nothing', UNHURRIED, async (context) => {
  const people = [null, ...(await signAllIn())];
  const pool = new Pool(gateway.url, { connections: CONNECTIONS });
  onTestFinished(() => pool.close());
  const paths = Object.keys(TOLD);
  const crossings: string[] = [];
  let left = REQUESTS;
  const work = async () => {
    while (left-- > 0) {
      const person = people[Math.floor(Math.random() * people.length)] ?? null;
      const path = paths[Math.floor(Math.random() * paths.length)] ?? '';
      const { statusCode, body } = await pool.request({
        method: 'GET',
        path,
        headers: person ? { cookie: person.cookie } : {},
      });
      const { headers = {} } = (await body.json()) as { headers?: Headers };
      const expected = TOLD[path]?.(person) ?? null;
      const told = Object.fromEntries(
        NAMES.flatMap((name) => (headers[name] ? [[name, headers[name]]] : [])),
      );
      const right = expected ? statusCode === 200 : statusCode === 401;
      if (!right || !sameHeaders(told, expected ?? {})) crossings.push(`${path}: ${statusCode}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  expect(new Set(people.map((person) => person?.token)).size, 'each has a token of their own').toBe(
    PEOPLE + 1,
  );
  const sizes = { people: PEOPLE, connections: CONNECTIONS, routes: paths.length };
  report(context, { requests: REQUESTS, ...sizes, crossings: crossings.length });
  expect(crossings).toEqual([]);
});

async function signAllIn() {
  const people: Awaited<ReturnType<typeof signIn>>[] = [];
  const one = async () => {
    while (people.length < PEOPLE) people.push(await signIn());
  };
  await Promise.all(Array.from({ length: SIGN_INS_AT_ONCE }, one));
  return people.slice(0, PEOPLE);
}

test(
  'requests of many on one connection are answered in order, each as whose it is',
  UNHURRIED,
  async (context) => {
    const people = await Promise.all([null, null, signIn(), signIn(), signIn()]);
    const rounds = scale({ quick: 4, full: 200 });
    let swaps = 0;
    for (let round = 0; round < rounds; round++) {
      const asked = Array.from({ length: 50 }, (_none, at) => ({
        person: people[(at * 7 + round) % people.length] ?? null,
        path: at % 3 === 0 ? '/optional/x' : '/plain/x',
        id: `${round}-${at}`,
      }));
      const texts = asked.map(({ person, path, id }, at) => {
        const cookie = person === null ? '' : `Cookie: ${person.cookie}\r\n`;
        const last = at === asked.length - 1 ? 'Connection: close\r\n' : '';
        return `GET ${path}?id=${id} HTTP/1.1\r\nHost: a\r\n${cookie}${last}\r\n`;
      });
      const { head, body } = await sendBytes(gateway.url, texts.join(''));
      const answers = `${head}\r\n\r\n${body}`.split(/(?=HTTP\/1\.1 \d{3} )/);
      expect(answers).toHaveLength(asked.length);
      for (const [at, { person, path, id }] of asked.entries()) {
        const answer = answers[at] ?? '';
        const isRefused = person === null && path === '/plain/x';
        const isOwn = isRefused
          ? answer.startsWith('HTTP/1.1 401 ') && answer.includes('"code":"no-session-cookie"')
          : answer.startsWith('HTTP/1.1 200 ') && answer.includes(`"url":"${path}?id=${id}"`);
        const told = /"x-forwarded-user":"([^"]*)"/.exec(answer)?.[1];
        if (!isOwn || told !== (isRefused ? undefined : person?.userId)) swaps++;
      }
    }
    report(context, {
      'requests in one connection: tried': rounds * 50,
      'requests in one connection: swaps': swaps,
    });
    expect(swaps).toBe(0);
  },
);

async function signIn() {
  const { client } = await signInWithGitHub(gateway, addPerson(gateway.github).login);
  const { user } = await client.json<{ user: { id: string } }>('/api/auth/get-session');
  const { headers } = await client.json<{ headers: Record<string, string> }>('/forwarded/first');
  const cookie = [...client.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  return { userId: user.id, token: headers['x-forwarded-access-token'] ?? '', cookie };
}

function sameHeaders(told: Headers, expected: Headers): boolean {
  const names = new Set([...Object.keys(told), ...Object.keys(expected)]);
  return [...names].every((name) => told[name] === expected[name]);
}
