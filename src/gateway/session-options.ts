// What the configuration says to sessions/.
import type { GatewayConfig } from '../config/load.ts';
import type { SessionOptions } from '../sessions/sessions.ts';

export function sessionOptions(config: GatewayConfig): SessionOptions {
  return {
    publicUrl: config.publicUrl,
    secrets: config.secrets.map((secret) => secret.value),
    staleIfError: config.sessions.staleIfError,
    cookieFallback: config.sessions.cookieFallback,
    listenUrl: config.databaseDirectUrl ?? config.databaseUrl,
  };
}
