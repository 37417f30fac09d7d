import { createHash } from 'node:crypto';
import type { Person } from '../person.ts';
import { html, Markup } from './html.ts';

const style = `
body { margin: 0; background: #f6f8fa; color: #1f2328; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 28rem; margin: 3rem auto; padding: 1.5rem; background: #fff; border: 1px solid #d1d9e0; border-radius: 6px; }
h1 { margin: 0 0 1rem; font-size: 1.5rem; font-weight: 400; }
h2 { margin: 1rem 0 0; font-size: 1rem; }
fieldset { margin: 1rem 0; padding: .5rem 1rem; border: 1px solid #d1d9e0; border-radius: 6px; }
label { display: block; padding: .25rem 0; }
button { padding: .5rem 1rem; border: 1px solid #d1d9e0; border-radius: 6px; background: #f6f8fa; color: inherit; font: inherit; }
button[value=authorize] { border-color: #1f883d; background: #1f7a37; color: #fff; }
:focus-visible { outline: 2px solid #0969da; outline-offset: 2px; }
small { color: #59636e; }
`;
const styleHash = createHash('sha256').update(style).digest('base64');

/** Sent with every page: no script at all. A form-action would also bind the redirects that follow the form. */
export const pagePolicy = `default-src 'none'; style-src 'sha256-${styleHash}'; img-src data:; base-uri 'none'; frame-ancestors 'none'`;

/** What the authorize page shows; `fields` go back with the form as they came. */
export interface AuthorizePage {
  appName: string;
  redirectUri: string;
  scopes: readonly string[];
  people: readonly Person[];
  selected: string | undefined;
  fields: Iterable<readonly [name: string, value: string]>;
}

/** The page on which somebody picks who they are and lets the application in. */
export function authorizePage(page: AuthorizePage): string {
  const title = `Authorize ${page.appName}`;
  return document(
    title,
    html`<h1>${title}</h1>
<p>${page.appName} would like to know who you are. You will be sent to <strong>${new URL(page.redirectUri).origin}</strong>.</p>
<h2>Requested access</h2>
${scopeList(page.scopes)}
<form method="post" action="/login/oauth/authorize">
${[...page.fields].map(hiddenField)}
<fieldset><legend>Continue as</legend>
${page.people.map((person) => personChoice(person, page.selected))}
</fieldset>
<button name="decision" value="authorize">Authorize ${page.appName}</button>
<button name="decision" value="cancel" formnovalidate>Cancel</button>
</form>`,
  );
}

/** A page that only says something. */
export function messagePage(title: string, text: string): string {
  return document(title, html`<h1>${title}</h1><p>${text}</p>`);
}

function scopeList(scopes: readonly string[]): Markup {
  if (scopes.length === 0) return html`<p>Public information only</p>`;
  return html`<ul>${scopes.map((scope) => html`<li><code>${scope}</code></li>`)}</ul>`;
}

function hiddenField([name, value]: readonly [string, string]): Markup {
  return html`<input type="hidden" name="${name}" value="${value}">`;
}

function personChoice(person: Person, selected: string | undefined): Markup {
  const checked = person.login === selected ? html` checked` : '';
  return html`<label><input type="radio" name="login" value="${person.login}" required${checked}> ${person.login} <small>${person.name ?? ''}</small></label>
`;
}

function document(title: string, body: Markup): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · Stand-in GitHub</title>
<link rel="icon" href="data:,">
<style>${new Markup(style)}</style>
</head>
<body>
<main>
${body}
<p><small>This is a stand-in for GitHub: nobody here is real.</small></p>
</main>
</body>
</html>
`.text;
}
