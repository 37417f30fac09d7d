// Signing in with a GitHub personal access token, for scripts: POST /api/auth/pat-signin {"pat": "…"}.
import type { BetterAuthPlugin } from 'better-auth';
import { createAuthEndpoint } from 'better-auth/api';
import { setSessionCookie } from 'better-auth/cookies';
import * as z from 'zod';
import { GatewayError } from '../errors.ts';
import type { GitHubClient, Grant } from './github.ts';
import type { RecordSignIn } from './people.ts';

// Tokens of apps, not of people: whoever was given one for another app must not be able to sign in with it here.
const OF_AN_APP = /^gh[ousr]_/;
const LOOKS_LIKE_A_TOKEN = /^[\x21-\x7e]{1,512}$/;

export function patSignIn(client: GitHubClient, recordSignIn: RecordSignIn): BetterAuthPlugin {
  return {
    id: 'pat-signin',
    endpoints: {
      patSignIn: createAuthEndpoint(
        '/pat-signin',
        { method: 'POST', body: z.unknown(), requireHeaders: true },
        async (context) => {
          const token = tokenOf(context.body);
          const person = await client.readPerson(token);
          if (person.app !== null) throw invalidToken();
          const userId = await recordSignIn(person, grantOf(token, person.tokenExpiresAt));
          const user = await context.context.internalAdapter.findUserById(userId);
          const session = user && (await context.context.internalAdapter.createSession(userId));
          if (!user || !session) throw new GatewayError('session-store-unavailable');
          await setSessionCookie(context, { session, user });
          return context.json({ success: true });
        },
      ),
    },
  };
}

/** @throws {GatewayError} bad-request, github-token-invalid */
function tokenOf(body: unknown): string {
  const { pat } = (typeof body === 'object' && body !== null ? body : {}) as { pat?: unknown };
  if (typeof pat !== 'string' || pat.trim() === '')
    throw new GatewayError('bad-request', { detail: 'Send {"pat": "<personal access token>"}.' });
  const token = pat.trim();
  if (OF_AN_APP.test(token) || !LOOKS_LIKE_A_TOKEN.test(token)) throw invalidToken();
  return token;
}

function invalidToken(): GatewayError {
  return new GatewayError('github-token-invalid', { detail: 'Invalid GitHub token' });
}

function grantOf(accessToken: string, expiresAt: number | null): Grant {
  return { accessToken, refreshToken: null, expiresAt, refreshExpiresAt: null, scopes: null };
}
