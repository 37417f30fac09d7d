// The ladder joined: memory, signature, shared tier, store; and what takes sessions off it.
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { Database } from '../database/database.ts';
import { authCookieWriter } from './auth-cookies.ts';
import { cookieFinder, credentialReader, tokenVerifier } from './cookie.ts';
import { type Hearing, startHearing } from './hearing.ts';
import { createLocalTier } from './local.ts';
import { createLookup, createStoreLookup } from './lookup.ts';
import { createRevocationLog } from './revocation-log.ts';
import { createRevocations } from './revocations.ts';
import { createSharedTier } from './shared.ts';
import { createSlidingExpiry } from './sliding.ts';
import { storeReader } from './store.ts';
import { createTierHealth } from './tier-health.ts';

export interface SessionOptions {
  readonly publicUrl: string;
  /** All that may have signed cookies; the first is the current one. */
  readonly secrets: readonly string[];
  /** How long a session in memory is served while no store answers, in ms. */
  readonly staleIfError: number;
  /** Where changes are heard; null on the embedded file. */
  readonly listenUrl: string | null;
}

export type Sessions = ReturnType<typeof createSessions>;

/** How long memory is trusted without asking: seconds while changes are heard, a moment while they are not. */
const FRESH_MS = 30_000;
const FRESH_UNHEARD_MS = 2_000;

export function createSessions(
  options: SessionOptions,
  database: Database,
  redis: Redis | null,
  logger: Logger,
) {
  const { secrets, staleIfError, listenUrl } = options;
  const cookieName = sessionCookieName(options.publicUrl);
  const findCookie = cookieFinder(cookieName);
  const verifyToken = tokenVerifier(secrets);
  const readStore = storeReader(database);
  const shared = redis && createSharedTier(redis, secrets[0] ?? '');
  const health = createTierHealth(logger);
  const log = createRevocationLog();
  const revocations = createRevocations(database, log, shared, (err) => health.failed('shared', err));
  let hearing: Hearing | null = null;
  const local = createLocalTier({
    log,
    freshMs: () => (hearing?.complete ? FRESH_MS : FRESH_UNHEARD_MS),
    staleIfErrorMs: staleIfError,
  });
  return {
    lookUp: createLookup({
      findCookie,
      verifyToken,
      local,
      shared,
      readStore,
      log,
      health,
      hearsChanges: () => hearing?.complete ?? false,
    }),
    lookUpInStore: createStoreLookup(credentialReader(cookieName, secrets), readStore, health),
    revocations,
    authCookies: authCookieWriter(secrets),
    extend: createSlidingExpiry({
      database,
      cookieName,
      findCookie,
      verifyToken,
      secret: secrets[0] ?? '',
      onExtended: revocations.sessionChanged,
      isStoreAway: () => health.isAway('store'),
      onError: (err) => health.failed('store', err),
    }),
    /** Begins to hear what others change; ends with the returned close(). */
    listen() {
      const onStateChange = (state: string, err?: unknown) => logger.info({ err }, state);
      hearing = startHearing({ database, connectionString: listenUrl, revocations, onStateChange });
      return hearing;
    },
  };
}

function sessionCookieName(publicUrl: string): string {
  return `${publicUrl.startsWith('https:') ? '__Secure-' : ''}better-auth.session_token`;
}
