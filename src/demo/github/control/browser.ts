import { unescapeHtml } from '../oauth/html.ts';

export interface BrowserVisit {
  /** The address an application sends a person to. */
  url: string;
  login: string;
  decision?: 'authorize' | 'cancel';
}

/**
 * Plays the person at the authorize page over HTTP: opens it, picks who they are, presses a button.
 * @returns where GitHub sends the browser, at once when it refuses to show the page.
 * @throws when there is neither a page nor a redirect, or the person is not on the page.
 */
export async function visitAuthorizePage({
  url,
  login,
  decision = 'authorize',
}: BrowserVisit): Promise<string> {
  const opened = await fetch(url, { redirect: 'manual' });
  const page = await opened.text();
  const elsewhere = opened.headers.get('location');
  if (elsewhere) return new URL(elsewhere, url).href;
  if (opened.status !== 200) throw new Error(`the authorize page answered ${opened.status}`);
  const { action, fields, people } = readForm(page);
  if (!people.includes(login)) throw new Error(`${login} is not on the authorize page`);
  const body = new URLSearchParams([...fields, ['login', login], ['decision', decision]]);
  const sent = await fetch(new URL(action, url), { method: 'POST', body, redirect: 'manual' });
  await sent.body?.cancel();
  const location = sent.headers.get('location');
  if (!location) throw new Error(`the authorize form answered ${sent.status}`);
  return location;
}

function readForm(page: string) {
  const inputs = [...page.matchAll(/<input type="(\w+)" name="([^"]*)" value="([^"]*)"/g)].map(
    ([, type, name = '', value = '']) => ({ type, name: unescapeHtml(name), value: unescapeHtml(value) }),
  );
  return {
    action: unescapeHtml(/<form method="post" action="([^"]*)"/.exec(page)?.[1] ?? ''),
    fields: inputs
      .filter(({ type }) => type === 'hidden')
      .map(({ name, value }): [string, string] => [name, value]),
    people: inputs.filter(({ type }) => type === 'radio').map(({ value }) => value),
  };
}
