// The plain page where people sign in: /_gateway/sign-in?callbackURL=/where/they/were&error=code.
import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { ERRORS, type GatewayError } from '../errors.ts';
import { AUTH_PATH, SIGN_IN_PAGE } from '../policy/own-paths.ts';
import { safeReturnUrl } from '../policy/return-url.ts';
import type { Target } from '../policy/target.ts';

export interface SignInPageOptions {
  readonly publicUrl: string;
  readonly trustedOrigins: ReadonlySet<string>;
  /** False without an OAuth App: then only scripts with tokens sign in. */
  readonly hasGitHub: boolean;
}

/** Where a person who is not signed in is sent; the way back is kept. */
export function signInLocation({ path, query }: Target): string {
  return `${SIGN_IN_PAGE}?callbackURL=${encodeURIComponent(path + query)}`;
}

export function registerSignInPage(app: FastifyInstance, options: SignInPageOptions): void {
  app.get<{ Querystring: { callbackURL?: unknown; error?: unknown } }>(SIGN_IN_PAGE, (request, reply) => {
    const { callbackURL, error } = request.query;
    const back = safeReturnUrl(callbackURL, options.publicUrl, options.trustedOrigins) ?? '/';
    sendPage(reply, page(options.hasGitHub ? back : null, failureText(error)));
  });
}

/** For a person who may not be here, in place of the problem document. */
export function refusalPage(reply: FastifyReply, error: GatewayError): FastifyReply {
  const title = ERRORS[error.code].title;
  reply.code(error.status).header('x-gateway-intercepted-response', 'true');
  return sendPage(
    reply,
    documentOf(
      title,
      `<h1>${escapeHtml(title)}</h1>
<p class="failure" role="alert">${escapeHtml(error.detail)}</p>
<p><a class="button" href="${SIGN_IN_PAGE}">Sign in again</a></p>`,
    ),
  );
}

function sendPage(reply: FastifyReply, html: string): FastifyReply {
  return reply
    .headers({
      'cache-control': 'no-store',
      'content-security-policy': CONTENT_POLICY,
      'referrer-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    })
    .type('text/html; charset=utf-8')
    .send(html);
}

/** What Better Auth calls the failures that people meet. */
const FAILURES: Record<string, string> = {
  access_denied: 'You cancelled the sign-in at GitHub.',
  state_mismatch: 'The sign-in took too long or was started twice. Please try again.',
  state_not_found: 'The sign-in was not started here. Please try again.',
  invalid_code: 'GitHub did not confirm the sign-in. Please try again.',
  BANNED_USER: ERRORS['user-banned'].advice,
};

function failureText(error: unknown): string | null {
  if (typeof error !== 'string' || error === '') return null;
  if (Object.hasOwn(ERRORS, error)) return ERRORS[error as keyof typeof ERRORS].advice;
  return Object.hasOwn(FAILURES, error)
    ? (FAILURES[error] ?? null)
    : 'The sign-in did not work. Please try again.';
}

const STYLE = `
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: Canvas; color: CanvasText; }
  main { width: min(22rem, 100% - 3rem); text-align: center; }
  h1 { font-size: 1.5rem; margin: 0 0 .5rem; }
  p { margin: 0 0 1.5rem; }
  .failure { border: 1px solid #cf222e; border-radius: .5rem; padding: .75rem 1rem; text-align: left; }
  a.button { display: block; padding: .75rem 1rem; border-radius: .5rem; background: #1f2328; color: #fff;
    border: 1px solid #59636e; text-decoration: none; font-weight: 600; }
  a.button:hover { background: #32383f; }
  a.button:focus-visible { outline: 3px solid #0969da; outline-offset: 2px; }
`;

const CONTENT_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** @param back where the person goes on to; null when there is no way for people to sign in */
function page(back: string | null, failure: string | null): string {
  return documentOf(
    'Sign in',
    `<h1>Sign in</h1>
${failure === null ? '' : `<p class="failure" role="alert">${escapeHtml(failure)}</p>`}
${back === null ? NO_GITHUB : signInButton(back)}`,
  );
}

function documentOf(title: string, main: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${main}
</main>
</body>
</html>
`;
}

const NO_GITHUB =
  '<p>Signing in with GitHub is not set up here. Scripts may sign in with a personal access token.</p>';

function signInButton(back: string): string {
  const start = `${AUTH_PATH}/sign-in/social?provider=github&callbackURL=${encodeURIComponent(back)}`;
  return `<p>Continue with your GitHub account.</p>
<a class="button" href="${escapeHtml(start)}">Sign in with GitHub</a>`;
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
