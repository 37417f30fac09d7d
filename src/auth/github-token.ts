// The person's GitHub token, in the clear, for the moment it is handed to an upstream.
import { GatewayError } from '../errors.ts';
import type { Session } from '../policy/session.ts';
import type { TokenCipher } from './token-cipher.ts';

export type ReadGitHubToken = (session: Session) => Promise<string>;

/**
 * The returned function throws a {@link GatewayError}: reauth-required when none is stored, it has run out or is not to be
 * opened; session-store-unavailable when it is not known.
 */
export function githubTokenReader(cipher: TokenCipher): ReadGitHubToken {
  return async ({ github }) => {
    if (github === undefined) throw new GatewayError('session-store-unavailable');
    const expired = github !== null && github.tokenExpiresAt !== null && github.tokenExpiresAt <= Date.now();
    if (!github?.encryptedToken || expired) throw new GatewayError('reauth-required');
    return cipher.decrypt(github.encryptedToken).catch((cause: unknown) => {
      throw new GatewayError('reauth-required', { cause });
    });
  };
}
