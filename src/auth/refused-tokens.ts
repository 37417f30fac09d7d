// An upstream says that GitHub refused the token it was given: is that so? A good token is not looked into again and again.
import { LRUCache } from 'lru-cache';
import type { Session } from '../policy/session.ts';
import type { CheckAccount } from './account-check.ts';

/** Has GitHub ended this person's token? False, too, when it does not say so in time. Never throws. */
export type IsTokenRefused = (session: Session) => Promise<boolean>;

/** After an answer about a token, it is not asked about for so long. */
const REST_MS = 10_000;
/** An upstream's answer is not kept back for longer; what GitHub says later is kept all the same. */
const PATIENCE_MS = 2000;

export function refusedTokenFinder(check: CheckAccount): IsTokenRefused {
  // By the encrypted token: whoever signs in again has another.
  const asked = new LRUCache<string, { answer: Promise<boolean>; until: number }>({ max: 10_000 });
  return (session) => {
    const token = session.github?.encryptedToken;
    if (token == null) return Promise.resolve(false);
    const known = asked.get(token);
    if (known && known.until > Date.now()) return known.answer;
    const answer = within(
      PATIENCE_MS,
      check(session).then(
        (checked) => checked === 'refused',
        () => false,
      ),
    );
    asked.set(token, { answer, until: Date.now() + REST_MS });
    return answer;
  };
}

async function within(ms: number, answer: Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
