// The person's GitHub token, in the clear, for the moment it is handed to an upstream.
import { GatewayError } from '../errors.ts';
import type { Session } from '../policy/session.ts';
import type { TokenCipher } from './token-cipher.ts';

export type ReadGitHubToken = (session: Session) => Promise<string>;

/** The returned function throws a {@link GatewayError} reauth-required: none stored, run out, or not to be opened. */
export function githubTokenReader(cipher: TokenCipher): ReadGitHubToken {
  return async ({ github }) => {
    const expired = github !== null && github.tokenExpiresAt !== null && github.tokenExpiresAt <= Date.now();
    if (!github?.encryptedToken || expired) throw new GatewayError('reauth-required');
    return cipher.decrypt(github.encryptedToken).catch((cause: unknown) => {
      throw new GatewayError('reauth-required', { cause });
    });
  };
}
