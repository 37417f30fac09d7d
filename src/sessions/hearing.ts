// Are changes by others heard at the moment? From Postgres by its triggers, from the embedded file by its counter.
import { sql } from 'kysely';
import type { Logger } from 'pino';
import type { Database } from '../database/database.ts';
import { CHANNEL, TRIGGERS_COMPLETE } from '../database/triggers.ts';
import { startListener } from './listener.ts';
import type { Revocations } from './revocations.ts';
import { watchFile } from './watch-file.ts';

export interface Hearing {
  /** May memory be trusted for longer than a moment, and Redis be filled? */
  readonly complete: boolean;
  /** Epoch milliseconds up to which every change was heard for sure; null when there is no such time. */
  readonly until: number | null;
  /** For /readyz: `ok`, or what is wrong. */
  readonly state: string;
  close(): Promise<void>;
}

export interface HearingOptions {
  readonly database: Database;
  /** Past a pooler, which would not keep the connection. */
  readonly connectionString: string | null;
  readonly revocations: Revocations;
  /** Told when the store has just answered after a gap. */
  readonly onStoreBack: () => void;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** Told for the metrics. */
  readonly onStateChange?: (state: string, isOn: boolean) => void;
}

/** The state in which memory is trusted for a moment only and Redis is not filled; README.md says more. */
export const UNHEARD = 'changes-unheard';

export function startHearing(options: HearingOptions): Hearing {
  const { database, connectionString } = options;
  if (database.file !== null) return hearFile(database.file, options.revocations);
  return hearPostgres(connectionString ?? '', options);
}

function hearFile(file: NonNullable<Database['file']>, revocations: Revocations): Hearing {
  const end = watchFile(file, revocations.everythingChanged);
  return { complete: true, until: Number.POSITIVE_INFINITY, state: 'ok', close: async () => end() };
}

function hearPostgres(connectionString: string, options: HearingOptions): Hearing {
  const { database, revocations } = options;
  const say = sayOnce(options);
  const listener = startListener({
    connectionString,
    channel: CHANNEL,
    question: TRIGGERS_COMPLETE,
    tryStore: async () => {
      await sql`select 1`.execute(database.kysely);
    },
    onChange: revocations.heard,
    onArmed(complete) {
      options.onStoreBack();
      // What happened before, or in a gap, was not heard.
      revocations.changesMissed();
      say(!complete, 'triggers are missing or disabled (run the command migrate)');
    },
    onLost: (error) => say(true, 'the listening connection is lost', error),
  });
  return {
    get complete() {
      return listener.complete;
    },
    get until() {
      return listener.heardUntil;
    },
    get state() {
      return listener.armed ? 'ok' : 'does not listen';
    },
    close: () => listener.close(),
  };
}

function sayOnce({ logger, onStateChange = () => {} }: HearingOptions) {
  let isUnheard = false;
  return (unheard: boolean, why: string, err?: unknown) => {
    if (unheard === isUnheard) return;
    isUnheard = unheard;
    onStateChange(UNHEARD, unheard);
    if (unheard) logger.warn({ state: UNHEARD, err }, `${UNHEARD}: ${why}`);
    else logger.info({ state: UNHEARD }, `${UNHEARD} is over`);
  };
}
