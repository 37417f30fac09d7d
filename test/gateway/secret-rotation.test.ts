// A new auth secret signs nobody out: gateways are restarted one after the other with the new one second, then first, then
// alone, while people go on. What was signed, encrypted or made under the old one counts meanwhile.
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { verify } from '../../src/sessions/cookie.ts';
import { type Client, createClient, signInWithGitHub, signInWithToken } from '../support/browser-like.ts';
import { report } from '../support/figures.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { addPerson } from '../support/person.ts';
import { scale } from '../support/scale.ts';

vi.setConfig({ testTimeout: scale({ quick: 60_000, full: 600_000 }) });

const PEOPLE = scale({ quick: 6, full: 300 });
const SESSION = 'better-auth.session_token';
const OLD = 'the-old-secret-of-tests-0123456789abcdef';
const NEW = 'the-new-secret-of-tests-fedcba9876543210';
/** Restarted with these, one gateway after the other. */
const STEPS = [`1:${OLD},2:${NEW}`, `2:${NEW},1:${OLD}`];

interface Person {
  readonly client: Client;
  readonly userId: string;
}

interface Echo {
  readonly headers: Record<string, string | undefined>;
}

describe.each(['aes-256-gcm', 'better-auth'])('with tokens in the format %s', (format) => {
  let first: TestGateway;
  const running = new Set<TestGateway>();
  beforeAll(async () => {
    first = await startTestGateway({
      env: { BETTER_AUTH_SECRET: OLD },
      config: `
upstreams:
  hub: { targets: ["\${UPSTREAM}"], githubToken: forwarded }
  app: { targets: ["\${UPSTREAM}"], cookies: pass, setCookies: pass }
routes:
  - { path: /api/**, upstream: hub, access: session }
  - { path: /app/**, upstream: app, access: optional }
githubTokens: { format: ${format} }
`,
    });
  });
  afterAll(async () => {
    for (const gateway of running) await gateway.close();
    await first?.close();
  });

  const start = async (secrets: string) => {
    const gateway = await first.another({ BETTER_AUTH_URL: first.url, BETTER_AUTH_SECRETS: secrets });
    running.add(gateway);
    return gateway;
  };

  async function signIn(number: number): Promise<Person> {
    const { login } = addPerson(first.github);
    const client =
      number % 2 === 0 ? (await signInWithGitHub(first, login)).client : await signInWithToken(first, login);
    const { user } = await client.json<{ user: { id: string } }>('/api/auth/get-session');
    return { client, userId: user.id };
  }

  /** One jar, whichever gateway answers. @returns those who are not who they were, or have lost their token */
  async function signedOut(people: readonly Person[], gateway: TestGateway): Promise<number> {
    let lost = 0;
    for (const [number, { client, userId }] of people.entries()) {
      const here = createClient(gateway.url, client.cookies);
      // Some only ever ask for their session, some only for what is proxied.
      const only = number % 3;
      const told = only !== 1 && (await here.json<{ user?: { id: string } }>('/api/auth/get-session'));
      const echo = only !== 0 && (await here.json<Echo>('/api/x'));
      const isLost =
        (told && told.user?.id !== userId) ||
        (echo && echo.headers['x-forwarded-user'] !== userId) ||
        (echo && !/^gh[op]_/.test(echo.headers['x-forwarded-access-token'] ?? ''));
      if (isLost) lost++;
    }
    return lost;
  }

  test('nobody is signed out, not even by the end of the old secret', async (context) => {
    const people: Person[] = [];
    while (people.length < PEOPLE) people.push(await signIn(people.length));
    let [lost, asked] = [await signedOut(people, first), people.length];
    let previous = first;
    for (const secrets of STEPS) {
      const next = await start(secrets);
      // Both kinds serve at once, and sessions made at the one go on at the other.
      for (const gateway of [next, previous, next]) {
        lost += await signedOut(people, gateway);
        asked += people.length;
      }
      previous = next;
    }
    for (const { client } of people)
      expect(verify(client.cookies.get(SESSION) ?? '', [NEW]), 'the cookie is signed anew').not.toBeNull();
    const alone = await start(`2:${NEW}`);
    for (const { client, userId } of people) {
      const told = await createClient(alone.url, client.cookies).json<{ user?: { id: string } }>(
        '/api/auth/get-session',
      );
      asked++;
      if (told?.user?.id !== userId) lost++;
    }
    report(context, { people: PEOPLE, asked, 'signed out': lost });
    expect(lost).toBe(0);
  });

  test('a service that reads sessions itself is shown cookies of the new secret alone', async () => {
    const { client } = await signIn(0);
    const next = await start(STEPS[1] as string);
    const before = new Map(client.cookies);
    expect(before.get('better-auth.session_data')).toBeDefined();
    const shown = async () => {
      const { headers } = await createClient(next.url, new Map(before)).json<Echo>('/app/x');
      return new Map(
        (headers.cookie ?? '').split('; ').map((pair) => pair.split('=', 2) as [string, string]),
      );
    };
    const cookies = await shown();
    expect(verify(cookies.get(SESSION) ?? '', [NEW])).toBe(verify(before.get(SESSION) ?? '', [OLD]));
    // Opened with the new secret alone, it would be no session to the service.
    expect(cookies.has('better-auth.session_data')).toBe(false);
  });

  test('a sign-in that began under the old secret ends under the new one', async () => {
    const { login } = addPerson(first.github);
    const client = createClient(first.url);
    const started = await client.fetch('/api/auth/sign-in/social?provider=github&callbackURL=/api/home');
    const url = started.headers.get('location') ?? '';
    const callback = new URL(await first.github.control.authorize({ url, login }));
    const next = createClient((await start(STEPS[1] as string)).url, client.cookies);
    const answer = await next.fetch(`${callback.pathname}${callback.search}`);
    expect(answer.status, await answer.clone().text()).toBe(302);
    expect(answer.headers.get('location')).toMatch(/\/api\/home$/);
    expect((await next.fetch('/api/home')).status).toBe(200);
  });
});
