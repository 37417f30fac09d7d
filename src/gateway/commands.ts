// What commands of the CLI do to the store, without a gateway that listens.
import { type Rotation, rotateKeys } from '../auth/rotate-keys.ts';
import { createTokenCipher } from '../auth/token-cipher.ts';
import type { GatewayConfig } from '../config/load.ts';
import { openDatabaseForMigration } from '../database/database.ts';
import { type MigrateOptions, migrate } from '../database/migrate.ts';
import { createLogger } from '../http/logging.ts';
import { createSessions } from '../sessions/sessions.ts';
import { sessionOptions } from './session-options.ts';
import { createSignIn } from './sign-in.ts';

/** Makes the tables, for the command of that name. @returns the names of those that were missing */
export async function migrateStore(
  config: GatewayConfig,
  options: MigrateOptions = {},
): Promise<readonly string[]> {
  const logger = createLogger(config.logLevel);
  const database = openDatabaseForMigration(config);
  try {
    const sessions = createSessions(sessionOptions(config), database, null, logger);
    const { auth } = createSignIn(config, { database, sessions, logger });
    return await migrate(database, auth.options, options);
  } finally {
    await database.close();
  }
}

/** Re-encrypts the stored tokens, for the command of that name. */
export async function rotateStoredKeys(
  config: GatewayConfig,
  onProgress: (rotation: Rotation) => void,
): Promise<Rotation> {
  const database = openDatabaseForMigration(config);
  try {
    const cipher = createTokenCipher({ ...config, format: config.githubTokens.format });
    return await rotateKeys(database, cipher, onProgress);
  } finally {
    await database.close();
  }
}
