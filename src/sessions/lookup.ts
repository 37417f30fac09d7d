// Who is asking? Down the ladder: the cookie's signature, the shared tier, the store.
import type { LookUpSession, Lookup, Session } from '../policy/session.ts';
import type { ReadCredential } from './cookie.ts';
import type { SharedTier } from './shared.ts';
import type { ReadSession, StoreAnswer } from './store.ts';

/** Told about a tier that could not be asked; the lookup went on without it. */
export type OnTierError = (tier: 'shared' | 'store', error: unknown) => void;

export interface LookupParts {
  readonly readCredential: ReadCredential;
  /** Null without Redis. */
  readonly shared: SharedTier | null;
  readonly readStore: ReadSession;
  readonly onTierError: OnTierError;
}

/** Joins the tiers to the one question the rest of the gateway asks. */
export function createLookup({ readCredential, shared, readStore, onTierError }: LookupParts): LookUpSession {
  async function fromShared(token: string): Promise<Session | null> {
    try {
      return (await shared?.get(token)) ?? null;
    } catch (error) {
      onTierError('shared', error);
      return null;
    }
  }

  async function fromStore(token: string): Promise<Lookup> {
    try {
      const answer = await readStore(token);
      if (answer.found === 'session') await fill(token, answer.session);
      return lookupOf(answer);
    } catch (error) {
      onTierError('store', error);
      return { outcome: 'failed', cause: error };
    }
  }

  async function fill(token: string, session: Session): Promise<void> {
    await shared?.set(token, session).catch((error: unknown) => onTierError('shared', error));
  }

  return async (cookieHeader) => {
    const credential = readCredential(cookieHeader);
    if (credential.kind === 'absent') return { outcome: 'none', reason: 'no-session-cookie' };
    if (credential.kind === 'invalid') return { outcome: 'none', reason: 'session-invalid' };
    const cached = await fromShared(credential.token);
    if (cached) return { outcome: 'found', session: cached, tier: 'shared' };
    return fromStore(credential.token);
  };
}

function lookupOf(answer: StoreAnswer): Lookup {
  if (answer.found === 'session') return { outcome: 'found', session: answer.session, tier: 'store' };
  if (answer.found === 'ended') return { outcome: 'none', reason: 'user-banned', ban: answer.ban };
  return { outcome: 'none', reason: 'session-expired' };
}
