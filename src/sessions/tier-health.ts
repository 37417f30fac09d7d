// Which tiers answer? Says so once when it changes, not once a request.
import type { Logger } from 'pino';

/** `shared-fill`: Redis answers, but takes nothing. */
export type StoreTier = 'shared' | 'shared-fill' | 'store';

export interface TierHealth {
  /** @param askedAt `performance.now()` of the question: one that was asked before the latest answer tells nothing new */
  failed(tier: StoreTier, error: unknown, askedAt?: number): void;
  answered(tier: StoreTier): void;
  isAway(tier: StoreTier): boolean;
}

/** What each outage is called, and what the gateway does meanwhile. README.md lists them. */
const OUTAGES: Record<StoreTier, { state: string; meanwhile: string }> = {
  shared: { state: 'redis-unavailable', meanwhile: 'sessions are read from the database' },
  'shared-fill': {
    state: 'redis-read-only',
    meanwhile: 'sessions that are not in Redis yet are read from the database',
  },
  store: {
    state: 'database-unavailable',
    meanwhile: 'sessions known here or in Redis are served for a while, all others are answered 503',
  },
};

export const OUTAGE_STATES: readonly string[] = Object.values(OUTAGES).map(({ state }) => state);

/** @param onChange told with the log, for the metrics */
export function createTierHealth(
  logger: Pick<Logger, 'warn' | 'info'>,
  onChange: (state: string, isOn: boolean) => void = () => {},
): TierHealth {
  const away = new Set<StoreTier>();
  const answeredAt = new Map<StoreTier, number>();
  return {
    failed(tier, err, askedAt = performance.now()) {
      if (away.has(tier) || askedAt < (answeredAt.get(tier) ?? 0)) return;
      away.add(tier);
      const { state, meanwhile } = OUTAGES[tier];
      onChange(state, true);
      logger.warn({ state, err }, `${state}: ${meanwhile}`);
    },
    answered(tier) {
      answeredAt.set(tier, performance.now());
      if (!away.delete(tier)) return;
      const { state } = OUTAGES[tier];
      onChange(state, false);
      logger.info({ state }, `${state} is over`);
    },
    isAway: (tier) => away.has(tier),
  };
}
