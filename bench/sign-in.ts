// A browser's part in signing in: follows redirects, and keeps each host's cookies.
import { request } from 'undici';

const MOST_REDIRECTS = 10;

/** @returns the cookies, `name=value; name=value`, that the host of `url` has given when everything is done */
export async function signInThroughRedirects(url: string): Promise<string> {
  const jars = new Map<string, Map<string, string>>();
  let next = new URL(url);
  for (let step = 0; step < MOST_REDIRECTS; step++) {
    const jar = jars.get(next.host) ?? new Map<string, string>();
    jars.set(next.host, jar);
    // Not fetch: it says of itself that it is no navigation, and such requests are not sent to sign in.
    const { statusCode, headers, body } = await request(next, {
      headers: { accept: 'text/html', cookie: textOf(jar) },
    });
    const text = await body.text();
    for (const line of [headers['set-cookie'] ?? []].flat()) keep(jar, line);
    if (headers.location === undefined) {
      if (statusCode !== 200) throw new Error(`Signing in at ${url} ended with ${statusCode}: ${text}`);
      return textOf(jars.get(new URL(url).host) ?? jar);
    }
    next = new URL(String(headers.location), next);
  }
  throw new Error(`Signing in at ${url} went in circles`);
}

function keep(jar: Map<string, string>, line: string): void {
  const [pair = '', ...attributes] = line.split(';');
  const name = pair.slice(0, pair.indexOf('=')).trim();
  const value = pair.slice(pair.indexOf('=') + 1).trim();
  const isEnded =
    value === '' || attributes.some((each) => /^\s*(max-age=0|expires=thu, 01.jan.1970)/i.test(each));
  if (isEnded) jar.delete(name);
  else jar.set(name, value);
}

function textOf(jar: ReadonlyMap<string, string>): string {
  return [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
}
