// The ladder joined: memory, signature, shared tier, store; and what takes sessions off it.
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { Database } from '../database/database.ts';
import type { Session } from '../policy/session.ts';
import { authCookieWriter } from './auth-cookies.ts';
import { cookieFinder, credentialReader, tokenVerifier } from './cookie.ts';
import { createFallbackCookie } from './fallback-cookie.ts';
import { FRESH_MS, FRESH_UNHEARD_MS } from './freshness.ts';
import { type Hearing, startHearing, UNHEARD } from './hearing.ts';
import { createLocalTier } from './local.ts';
import { createLookup, createStoreLookup } from './lookup.ts';
import { createLookupCounter } from './lookup-counts.ts';
import { passedCookies } from './passed-cookies.ts';
import { hearThroughRedis } from './redis-news.ts';
import { createRenewal } from './renewal.ts';
import { cookieResigner } from './resigning.ts';
import { restingStore } from './resting-store.ts';
import { createRevocationLog } from './revocation-log.ts';
import { createRevocations } from './revocations.ts';
import { sessionDataReader } from './session-data.ts';
import { createSharedTier } from './shared.ts';
import { createSlidingExpiry, sessionCookieLine } from './sliding.ts';
import { storeReader, together } from './store.ts';
import { createTierHealth, OUTAGE_STATES } from './tier-health.ts';
import { tokenHash } from './token-hash.ts';
import { createWatchers } from './watchers.ts';

export interface SessionOptions {
  readonly publicUrl: string;
  /** All that may have signed cookies; the first is the current one. */
  readonly secrets: readonly string[];
  /** How long a session in memory is served while no store answers, in ms. */
  readonly staleIfError: number;
  /** How old a JWE cookie may be to count while no store answers, in ms; 0 for none. */
  readonly cookieFallback: number;
  /** Where changes are heard; null on the embedded file. */
  readonly listenUrl: string | null;
  /** Told when a tier goes away or comes back; see tier-health.ts for the states. */
  readonly onStateChange?: (state: string, isOn: boolean) => void;
}

/** What the gateway may have to work without. */
export const DEGRADED_STATES = [...OUTAGE_STATES, UNHEARD];

export type Sessions = ReturnType<typeof createSessions>;

export function createSessions(
  options: SessionOptions,
  database: Database,
  redis: Redis | null,
  logger: Logger,
) {
  const { secrets, staleIfError, cookieFallback, listenUrl } = options;
  const secret = secrets[0] ?? '';
  const cookiePrefix = `${options.publicUrl.startsWith('https:') ? '__Secure-' : ''}better-auth.`;
  const cookieName = `${cookiePrefix}session_token`;
  const readCredential = credentialReader(cookieName, secrets);
  const findToken = (cookieHeader: string | undefined) => {
    const credential = readCredential(cookieHeader);
    return credential.kind === 'token' ? credential.token : null;
  };
  const readSessions = storeReader(database);
  const readStore = together(readSessions);
  const resting = restingStore(readSessions);
  const shared = redis && createSharedTier(redis, { secret, staleIfError });
  const health = createTierHealth(logger, options.onStateChange);
  const watchers = createWatchers();
  const log = createRevocationLog({ onNote: watchers.noted, onNoteAll: watchers.notedAll });
  const revocations = createRevocations(database, log, shared, (err) => health.failed('shared', err));
  let hearing: Hearing | null = null;
  const local = createLocalTier({
    log,
    freshMs: () => (hearing?.complete ? FRESH_MS : FRESH_UNHEARD_MS),
    staleIfErrorMs: staleIfError,
  });
  const fallback = createFallbackCookie({
    cookieName: `${cookiePrefix}session_data`,
    readSessionData: sessionDataReader(secrets),
    mostAge: cookieFallback,
    log,
    heardUntil: () => hearing?.until ?? null,
  });
  const counter = createLookupCounter();
  const isStoreAway = () => health.isAway('store');
  const extend = createSlidingExpiry({
    database,
    cookieName,
    findToken,
    secret,
    onExtended: revocations.sessionChanged,
    isStoreAway,
    onError: (err) => health.failed('store', err),
  });
  const repeatCookie = (cookieHeader: string, maxAge: number) => {
    const token = findToken(cookieHeader);
    return token && sessionCookieLine({ cookieName, secret }, token, maxAge);
  };
  const resign = cookieResigner({ findCookie: cookieFinder(cookieName), secrets, repeatCookie });
  return {
    lookUp: counter.counted(
      createLookup({
        findCookie: cookieFinder(cookieName),
        verifyToken: tokenVerifier(secrets),
        local,
        shared,
        readStore: together(resting.read),
        readFallback: fallback.read,
        log,
        health,
        hearsChanges: () => hearing?.complete ?? false,
      }),
    ),
    lookUpInStore: counter.counted(createStoreLookup(readCredential, readStore, health)),
    revocations,
    authCookies: authCookieWriter(secrets),
    /** Our cookies as services may see them that read sessions themselves. */
    passCookies: passedCookies({
      cookiePrefix,
      findCookie: cookieFinder(cookieName),
      verifyToken: tokenVerifier(secrets),
      secrets,
    }),
    /** The Set-Cookie line for a session whose cookie an older secret has signed. */
    resign,
    /** Gives a session that is used a longer life when it is due. */
    extend,
    /** @param issueFallback asks Better Auth for the Set-Cookie lines of a fresh JWE cookie */
    renewal: (issueFallback: (cookieHeader: string) => Promise<readonly string[]>) =>
      createRenewal({
        extend,
        fallback,
        issueFallback,
        repeatCookie,
        resign,
        isStoreAway,
        onError: (err) => logger.warn({ err }, 'a session cookie could not be renewed'),
      }),
    localSize: () => local.size,
    lookupCounts: counter.counts,
    /** The store has just answered: it need not be left alone any longer. */
    storeAnswered: resting.wake,
    /** Tells when the session may have changed; ends with the returned function. */
    watch({ userId, impersonatedBy }: Session, cookieHeader: string | undefined, onChange: () => void) {
      const token = findToken(cookieHeader);
      const keys = [userId, token && tokenHash(token), impersonatedBy].filter((key) => key !== null);
      return watchers.watch(keys, onChange);
    },
    /** Begins to hear what others change; ends with the returned close(). Its state is for /readyz. */
    listen() {
      const { onStateChange } = options;
      const onStoreBack = resting.wake;
      const parts = {
        database,
        connectionString: listenUrl,
        revocations,
        onStoreBack,
        logger,
        onStateChange,
      };
      const heard = startHearing(parts);
      hearing = heard;
      // Whoever waits for changes asks, while they cannot be heard, as often as memory would.
      const asking = setInterval(() => heard.complete || watchers.notedAll(), FRESH_UNHEARD_MS).unref();
      const endNews =
        redis &&
        hearThroughRedis(redis, (hash) => {
          // Whoever hears the store is told everything there.
          if (!heard.complete) log.note(hash);
        });
      return {
        state: () => heard.state,
        close() {
          clearInterval(asking);
          endNews?.();
          return heard.close();
        },
      };
    },
  };
}
