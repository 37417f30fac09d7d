// Are changes by others heard at the moment? From Postgres by its triggers, from the embedded file by its counter.
import type { Database } from '../database/database.ts';
import { CHANNEL, TRIGGERS_COMPLETE } from '../database/triggers.ts';
import { startListener } from './listener.ts';
import type { Revocations } from './revocations.ts';
import { watchFile } from './watch-file.ts';

export interface Hearing {
  /** May memory be trusted for longer than a moment, and Redis be filled? */
  readonly complete: boolean;
  /** For /readyz: `ok`, or what is wrong. */
  readonly state: string;
  close(): Promise<void>;
}

export interface HearingOptions {
  readonly database: Database;
  /** Past a pooler, which would not keep the connection. */
  readonly connectionString: string | null;
  readonly revocations: Revocations;
  readonly onStateChange: (state: string, error?: unknown) => void;
}

export function startHearing(options: HearingOptions): Hearing {
  const { database, connectionString } = options;
  if (database.file !== null) return hearFile(database.file, options.revocations);
  return hearPostgres(connectionString ?? '', options);
}

function hearFile(file: NonNullable<Database['file']>, revocations: Revocations): Hearing {
  const end = watchFile(file, revocations.everythingChanged);
  return { complete: true, state: 'ok', close: async () => end() };
}

function hearPostgres(connectionString: string, { revocations, onStateChange }: HearingOptions): Hearing {
  const listener = startListener({
    connectionString,
    channel: CHANNEL,
    question: TRIGGERS_COMPLETE,
    onChange: revocations.heard,
    onArmed(complete) {
      // What happened before, or in a gap, was not heard.
      revocations.everythingChanged();
      onStateChange(
        complete ? 'changes are heard' : 'triggers are missing or disabled: changes by others are not heard',
      );
    },
    onLost: (error) => onStateChange('changes are not heard', error),
  });
  return {
    get complete() {
      return listener.complete;
    },
    get state() {
      return listener.armed ? 'ok' : 'does not listen';
    },
    close: () => listener.close(),
  };
}
