// Which tiers answer? Says so once when it changes, not once a request.
import type { Logger } from 'pino';

export type StoreTier = 'shared' | 'store';

export interface TierHealth {
  failed(tier: StoreTier, error: unknown): void;
  answered(tier: StoreTier): void;
  isAway(tier: StoreTier): boolean;
}

/** What each outage is called, and what the gateway does meanwhile. */
const OUTAGES: Record<StoreTier, { state: string; meanwhile: string }> = {
  shared: { state: 'redis-unavailable', meanwhile: 'sessions are read from the database' },
  store: {
    state: 'database-unavailable',
    meanwhile: 'sessions known here are served for a while, all others are answered 503',
  },
};

export function createTierHealth(logger: Pick<Logger, 'warn' | 'info'>): TierHealth {
  const away = new Set<StoreTier>();
  return {
    failed(tier, err) {
      if (away.has(tier)) return;
      away.add(tier);
      const { state, meanwhile } = OUTAGES[tier];
      logger.warn({ state, err }, `${state}: ${meanwhile}`);
    },
    answered(tier) {
      if (away.delete(tier)) logger.info({ state: OUTAGES[tier].state }, `${OUTAGES[tier].state} is over`);
    },
    isAway: (tier) => away.has(tier),
  };
}
