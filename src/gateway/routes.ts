// What the main port answers.
import cookie from '@fastify/cookie';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { callAuth } from '../auth/call.ts';
import { fallbackCookieIssuer } from '../auth/fallback-cookie.ts';
import { refusedTokenFinder } from '../auth/refused-tokens.ts';
import type { GatewayConfig } from '../config/load.ts';
import type { Database } from '../database/database.ts';
import { addHttp2Lane } from '../forwarding/http2.ts';
import { preparedIdentities } from '../forwarding/identities.ts';
import type { Upstream } from '../forwarding/upstream.ts';
import { registerAuthRoutes } from '../http/auth-routes.ts';
import { registerGitHubWebhook } from '../http/github-webhook.ts';
import { registerGuard } from '../http/guard.ts';
import { createOpenStreams } from '../http/open-streams.ts';
import type { ReadOrigin } from '../http/origin.ts';
import { registerReservedPaths, signInUrl } from '../http/paths.ts';
import { limitRoutes } from '../http/rate-limits.ts';
import { registerSignInPage } from '../http/sign-in-page.ts';
import type { Traffic } from '../http/traffic.ts';
import { registerUserScopes } from '../http/user-scopes.ts';
import { createRouteTable } from '../policy/route-table.ts';
import type { LookUpSession } from '../policy/session.ts';
import { staleCookies } from '../sessions/auth-cookies.ts';
import type { Sessions } from '../sessions/sessions.ts';
import { publicSessionHash } from '../sessions/token-hash.ts';
import type { SignIn } from './sign-in.ts';

export interface RouteParts {
  readonly database: Database;
  readonly sessions: Sessions;
  readonly signIn: SignIn;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly readOrigin: ReadOrigin;
  readonly traffic: Traffic;
  readonly logger: Logger;
}

/** What the main port answers: sign-in and sessions, our own pages, and, for every other path, the routes. */
export function registerRoutes(app: FastifyInstance, config: GatewayConfig, parts: RouteParts): void {
  const { database, sessions, signIn, upstreams, readOrigin } = parts;
  const { auth, readToken, admission } = signIn;
  const { authCookies } = sessions;
  const admitted = (lookUp: LookUpSession) => admission?.wrap(lookUp) ?? lookUp;
  const lookUp = admitted(sessions.lookUp);
  const toSignIn = (scopes: readonly string[], back: string) => signInUrl(publicUrl, scopes, back);
  const { publicUrl } = config;
  const askAuth = (request: Request) => callAuth(auth.handler, request);
  const trustedOrigins = new Set([publicUrl, ...config.trustedOrigins]);
  app.register(async (scope) => {
    await scope.register(cookie);
    registerAuthRoutes(scope, {
      callAuth: askAuth,
      callAuthInTransaction: (request) => callAuth(auth.handler, request, database.inTransaction),
      authCookies,
      staleCookies,
      lookUpInStore: sessions.lookUpInStore,
      lookUpAdmitted: admitted(sessions.lookUpInStore),
      onSignedOutEverywhere: async (userId) => {
        if (config.githubTokens.onSignOutEverywhere === 'delete') await signIn.deleteToken(userId);
      },
      resign: sessions.resign,
      publicUrl,
      githubUrl: config.github.url,
      trustedOrigins,
    });
    registerUserScopes(scope, {
      lookUp,
      checkToken: signIn.checkAccount,
      publicUrl,
      trustedOrigins,
      signInUrl: toSignIn,
    });
  });
  app.register(async (scope) =>
    registerGitHubWebhook(scope, {
      endAuthorization: signIn.endAuthorization,
      logger: parts.logger,
      secret: config.webhookSecret,
    }),
  );
  registerSignInPage(app, { publicUrl, trustedOrigins, hasGitHub: config.github.client !== null });
  registerReservedPaths(app);
  const extend: Sessions['extend'] = (session, cookieHeader) => {
    admission?.touch(session);
    return sessions.extend(session, cookieHeader);
  };
  const streams = createOpenStreams({ lookUp, watch: sessions.watch, extend, limits: config.streams });
  app.addHook('preClose', async () => streams.endAll());
  const guarded = {
    matchRoute: createRouteTable(config.routes),
    lookUp,
    publicUrl,
    upstreams,
    renew: sessions.renewal(
      fallbackCookieIssuer({ callAuth: askAuth, authCookies, staleCookies, publicUrl }),
    ),
    identify: preparedIdentities({ readToken, sessionHash: publicSessionHash }),
    trustedOrigins,
    passCookies: sessions.passCookies,
    forwarded: readOrigin.forwarded,
    streams,
    traffic: parts.traffic,
    limit: limitRoutes(app, parts.traffic),
    logger: parts.logger,
    signInUrl: toSignIn,
    githubOrigin: new URL(config.github.apiUrl).origin,
    isTokenRefused: refusedTokenFinder(signIn.checkAccount),
  };
  app.register(async (scope) => {
    await addHttp2Lane(scope);
    registerGuard(scope, guarded);
  });
}
