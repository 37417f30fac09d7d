// An upstream says that GitHub refused the token it was given: is that so? A good token is not looked into again and again.
import { LRUCache } from 'lru-cache';
import type { Session } from '../policy/session.ts';
import type { CheckAccount } from './account-check.ts';

/** Has GitHub ended this person's token? False, too, when it does not say so in time. Never throws. */
export type IsTokenRefused = (session: Session) => Promise<boolean>;

/** After an answer about a token, it is not asked about for so long; and when there was none. */
const REST_MS = 10_000;
const SHORT_REST_MS = 1000;
/** An upstream's answer is not kept back for longer; what GitHub says later is kept all the same. */
const PATIENCE_MS = 2000;

export function refusedTokenFinder(check: CheckAccount): IsTokenRefused {
  // By the encrypted token: whoever signs in again has another.
  const asked = new LRUCache<string, Asked>({ max: 10_000 });
  return (session) => {
    const token = session.github?.encryptedToken;
    if (token == null) return Promise.resolve(false);
    const known = asked.get(token);
    if (known && known.until > Date.now()) return known.answer;
    const now: Asked = { until: Number.POSITIVE_INFINITY, answer: NEVER };
    const rest = (ms: number) => {
      now.until = Date.now() + ms;
    };
    const checked = check(session).then(
      (said) => {
        rest(REST_MS);
        return said === 'refused';
      },
      () => {
        rest(SHORT_REST_MS);
        return false;
      },
    );
    now.answer = within(PATIENCE_MS, checked);
    asked.set(token, now);
    return now.answer;
  };
}

interface Asked {
  answer: Promise<boolean>;
  until: number;
}

const NEVER = Promise.resolve(false);

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
