// Are changes by others heard at the moment? From Postgres by its triggers, from the embedded file by its counter.
import type { Database } from '../database/database.ts';
import { CHANNEL, triggersInstalled } from '../database/triggers.ts';
import { startListener } from './listener.ts';
import type { RevocationLog } from './revocation-log.ts';
import type { Revocations } from './revocations.ts';
import type { SharedTier } from './shared.ts';
import { watchFile } from './watch-file.ts';

export interface Hearing {
  /** May memory be trusted for longer than a moment? */
  readonly complete: boolean;
  /** For /readyz: `ok`, or what is wrong. */
  readonly state: string;
  close(): Promise<void>;
}

export interface HearingOptions {
  readonly database: Database;
  /** Past a pooler, which would not keep the connection. */
  readonly connectionString: string | null;
  readonly log: RevocationLog;
  readonly shared: SharedTier | null;
  readonly revocations: Revocations;
  readonly onStateChange: (state: string, error?: unknown) => void;
}

export function startHearing(options: HearingOptions): Hearing {
  const { database, connectionString } = options;
  if (database.file !== null) return hearFile(database.file, options.log);
  return hearPostgres(database, connectionString ?? '', options);
}

function hearFile(file: NonNullable<Database['file']>, log: RevocationLog): Hearing {
  const end = watchFile(file, () => log.noteAll());
  return { complete: true, state: 'ok', close: async () => end() };
}

function hearPostgres(database: Database, connectionString: string, options: HearingOptions): Hearing {
  const { log, shared, revocations, onStateChange } = options;
  let installed = false;
  let listening = false;
  const listener = startListener({
    connectionString,
    channel: CHANNEL,
    onChange: revocations.heard,
    async onArmed() {
      installed = await triggersInstalled(database).catch(() => false);
      // What happened before, or in a gap, was not heard.
      log.noteAll();
      shared?.distrust();
      listening = true;
      onStateChange(
        installed ? 'changes are heard' : 'the triggers are not installed: changes by others are not heard',
      );
    },
    onLost(error) {
      listening = false;
      onStateChange('changes are not heard', error);
    },
  });
  return {
    get complete() {
      return listening && installed;
    },
    get state() {
      return listening ? 'ok' : 'does not listen';
    },
    close: () => listener.close(),
  };
}
