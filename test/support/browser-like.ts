// A client that keeps cookies, as a browser or curl with a cookie jar would.
import type { StandInGitHub } from '../../src/demo/github/server.ts';
import type { TestGateway } from './gateway.ts';
import { noteErrorBody, noteSessionCookie } from './secrecy/watch.ts';
import { headerList, REFUSED, type SendOptions, send } from './send.ts';

export interface Client {
  /** Sends the cookies it has, keeps the ones it gets, follows nothing. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  json<T = Record<string, unknown>>(path: string, init?: RequestInit): Promise<T>;
  /** As a browser does when a person types an address or clicks a link. */
  navigate(path: string): Promise<Response>;
  /** As curl does: no header but the ones given. */
  curl(path: string, options?: SendOptions): Promise<Response>;
  readonly cookies: Map<string, string>;
}

const NAVIGATION = {
  accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-site': 'none',
  'sec-fetch-dest': 'document',
};

export function createClient(baseUrl: string, cookies = new Map<string, string>()): Client {
  const sendPlainly = async (path: string, options: SendOptions = {}) => {
    const cookie = cookies.size > 0 ? ['cookie', cookieHeader(cookies)] : [];
    const url = path.startsWith('http') ? path : `${baseUrl}${path}`;
    const response = await send(url, { ...options, headers: [...cookie, ...headerList(options.headers)] });
    keepCookies(cookies, response);
    return response;
  };
  const fetchIt = async (path: string, init: RequestInit = {}) => {
    const headers = new Headers(init.headers);
    if (cookies.size > 0 && !headers.has('cookie')) headers.set('cookie', cookieHeader(cookies));
    const response = await fetch(new URL(path, baseUrl), { redirect: 'manual', ...init, headers });
    keepCookies(cookies, response);
    if (response.headers.has(REFUSED)) noteErrorBody(await response.clone().text());
    return response;
  };
  return {
    cookies,
    fetch: fetchIt,
    json: async <T>(path: string, init?: RequestInit) => (await (await fetchIt(path, init)).json()) as T,
    navigate: (path) => sendPlainly(path, { headers: NAVIGATION }),
    curl: sendPlainly,
  };
}

export function cookieHeader(cookies: ReadonlyMap<string, string>): string {
  return [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
}

/** A JSON POST. */
export function post(body: unknown = {}): RequestInit {
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

/** A client signed in with a personal access token. */
export async function signInWithToken(
  gateway: Pick<TestGateway, 'url' | 'github'>,
  login = 'octocat',
  scopes = ['read:user', 'user:email', 'public_repo'],
): Promise<Client> {
  const client = createClient(gateway.url);
  const response = await sendToken(
    client,
    gateway.github.control.issueToken({ login, kind: 'classic', scopes }),
  );
  if (response.status !== 200)
    throw new Error(`sign-in of ${login} was answered ${response.status}: ${await response.text()}`);
  return client;
}

export function sendToken(client: Client, pat: string): Promise<Response> {
  return client.curl('/api/auth/pat-signin', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ pat }),
    from: anotherAddress(),
  });
}

let addresses = 0;

/** Sign-ins are limited by address: each of these comes from its own. */
function anotherAddress(): string {
  addresses += 1;
  return `127.2.${(addresses >> 8) & 255}.${addresses & 255 || 1}`;
}

/** A client that went through GitHub's authorize page. @returns also where it was sent in the end */
export async function signInWithGitHub(
  gateway: { url: string; github: StandInGitHub },
  login = 'octocat',
  start = '/api/auth/sign-in/social?provider=github&callbackURL=/api/home',
): Promise<{ client: Client; landedAt: string | null; response: Response }> {
  const client = createClient(gateway.url);
  const started = await client.curl(start, { from: anotherAddress() });
  const authorizeUrl = started.headers.get('location');
  if (authorizeUrl === null) throw new Error(`a sign-in was not begun: ${await started.text()}`);
  const callback = await gateway.github.control.authorize({ url: authorizeUrl, login });
  const response = await client.fetch(callback);
  return { client, landedAt: response.headers.get('location'), response };
}

function keepCookies(cookies: Map<string, string>, response: Response): void {
  for (const line of response.headers.getSetCookie()) {
    const [pair = ''] = line.split(';', 1);
    const [name = ''] = pair.split('=', 1);
    if (/max-age=0/i.test(line)) cookies.delete(name);
    else {
      cookies.set(name, pair.slice(name.length + 1));
      if (name.endsWith('.session_token')) noteSessionCookie(pair.slice(name.length + 1));
    }
  }
}
