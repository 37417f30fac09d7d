// Sign-in and GitHub tokens put together: Better Auth, GitHub, and who may enter.
import type { Logger } from 'pino';
import { accountChecker } from '../auth/account-check.ts';
import { createAdmission } from '../auth/admission.ts';
import { authorizationEnder } from '../auth/authorization-ended.ts';
import { type AuthParts, createAuth } from '../auth/better-auth.ts';
import { createGitHubClient, type GitHubClient } from '../auth/github.ts';
import { DEFAULT_SCOPES } from '../auth/github-provider.ts';
import { githubTokenReader } from '../auth/github-token.ts';
import { signInRecorder } from '../auth/people.ts';
import { createTokenCipher, type TokenCipher } from '../auth/token-cipher.ts';
import { tokenDeleter } from '../auth/token-deletion.ts';
import { REFRESH_RESULTS, type RefreshResult, tokenRefresher } from '../auth/token-refresh.ts';
import type { GatewayConfig } from '../config/load.ts';
import type { Database } from '../database/database.ts';
import {
  type AdmissionRules,
  admitsEveryone,
  MEMBERSHIP_SCOPE,
  needsMemberships,
  readAdmissionRules,
} from '../policy/admission.ts';
import type { Sessions } from '../sessions/sessions.ts';

export interface SignInNeeds {
  readonly database: Database;
  readonly sessions: Sessions;
  readonly logger: Logger;
}

export type SignIn = ReturnType<typeof createSignIn>;

export function createSignIn(config: GatewayConfig, { database, sessions, logger }: SignInNeeds) {
  const cipher = createTokenCipher({ ...config, format: config.githubTokens.format });
  const client = createGitHubClient(config.github);
  const rules = readAdmissionRules(config.signIn);
  const { userChanged: onUserChanged } = sessions.revocations;
  const tokenParts = { database, cipher, client, onUserChanged };
  const refreshes = new Map<RefreshResult, number>(REFRESH_RESULTS.map((result) => [result, 0]));
  const refresh = tokenRefresher({
    ...tokenParts,
    onRefresh: (result) => void refreshes.set(result, (refreshes.get(result) ?? 0) + 1),
  });
  const readToken = githubTokenReader(cipher, refresh);
  const checkAccount = accountChecker({ ...tokenParts, readToken, rules, admins: config.admins });
  return {
    auth: createAuth(authParts(config, { database, cipher, client, rules, sessions, logger })),
    readToken,
    checkAccount,
    /** Null where everyone may enter. */
    admission: admitsEveryone(rules)
      ? null
      : createAdmission({ ...config.signIn, rules, check: checkAccount }),
    endAuthorization: authorizationEnder(database, sessions.revocations),
    deleteToken: tokenDeleter({
      ...tokenParts,
      onLeftBehind: (userId, err) => logger.warn({ userId, err }, 'a token could not be deleted at GitHub'),
    }),
    /** How refreshes ended, since the start. */
    refreshes,
  };
}

interface AuthNeeds extends SignInNeeds {
  readonly cipher: TokenCipher;
  readonly client: GitHubClient;
  readonly rules: AdmissionRules;
}

function authParts(config: GatewayConfig, needs: AuthNeeds): AuthParts {
  const { database, cipher, client, rules, sessions, logger } = needs;
  const { revocations } = sessions;
  const recordSignIn = signInRecorder({
    database,
    cipher,
    admins: config.admins,
    rules,
    readMemberships: client.readMemberships,
    onUserChanged: revocations.userChanged,
  });
  return {
    publicUrl: config.publicUrl,
    secrets: config.secrets,
    trustedOrigins: config.trustedOrigins,
    userFields: config.userFields,
    database,
    cipher,
    github: config.github,
    githubClient: client,
    recordSignIn,
    scopes: needsMemberships(rules) ? [...DEFAULT_SCOPES, MEMBERSHIP_SCOPE] : DEFAULT_SCOPES,
    changes: revocations,
    log: (level, message) => logger[level]({ part: 'better-auth' }, message),
  };
}
