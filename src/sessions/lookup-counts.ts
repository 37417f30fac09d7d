// Which tier answers, and what? Counted for the metrics, whoever asked.
import type { LookUpSession, Lookup, Tier } from '../policy/session.ts';

export interface LookupCount {
  /** `cookie`: no session cookie, one whose signature is wrong, or a JWE cookie that was believed. */
  readonly tier: Tier;
  readonly result: Lookup['outcome'];
  readonly count: number;
}

export interface LookupCounter {
  /** The same question, counted. */
  counted(lookUp: LookUpSession): LookUpSession;
  counts(): LookupCount[];
}

type Counts = Record<Tier, { found: number; none: number; failed: number }>;

const TIERS: readonly Tier[] = ['local', 'cookie', 'shared', 'store'];

export function createLookupCounter(): LookupCounter {
  const counts = Object.fromEntries(TIERS.map((tier) => [tier, { found: 0, none: 0, failed: 0 }])) as Counts;
  const note = (lookup: Lookup, below: 'local' | 'store'): Lookup => {
    counts[tierOf(lookup, below)][lookup.outcome]++;
    return lookup;
  };
  return {
    counted: (lookUp) => (cookieHeader) => {
      const lookup = lookUp(cookieHeader);
      // Memory answers at once; whoever lets one wait has asked a store.
      return lookup instanceof Promise ? lookup.then((later) => note(later, 'store')) : note(lookup, 'local');
    },
    counts: () =>
      TIERS.flatMap((tier) =>
        Object.entries(counts[tier]).map(([result, count]) => ({
          tier,
          result: result as Lookup['outcome'],
          count,
        })),
      ).filter(({ count }) => count > 0),
  };
}

function tierOf(lookup: Lookup, below: 'local' | 'store'): Tier {
  if (lookup.outcome === 'found') return lookup.tier;
  if (lookup.outcome === 'failed') return 'store';
  const { reason } = lookup;
  return reason === 'no-session-cookie' || reason === 'session-invalid' ? 'cookie' : below;
}
