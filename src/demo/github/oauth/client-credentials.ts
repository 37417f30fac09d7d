import type { OAuthApp } from '../app.ts';

export interface ClientCredentials {
  clientId: string;
  clientSecret: string;
}

/** Reads `Authorization: Basic`. */
export function basicCredentials(authorization: string | undefined): ClientCredentials | undefined {
  const encoded = /^basic\s+(\S+)$/i.exec(authorization ?? '')?.[1];
  if (!encoded) return undefined;
  const [clientId = '', ...rest] = Buffer.from(encoded, 'base64').toString('utf8').split(':');
  return { clientId, clientSecret: rest.join(':') };
}

/** Reads what an application identifies itself with at the token endpoint: the header, or else the body. */
export function tokenEndpointCredentials(
  authorization: string | undefined,
  parameters: URLSearchParams,
): ClientCredentials {
  const inBody = {
    clientId: parameters.get('client_id') ?? '',
    clientSecret: parameters.get('client_secret') ?? '',
  };
  return basicCredentials(authorization) ?? inBody;
}

export function isApp(app: OAuthApp, credentials: ClientCredentials | undefined): boolean {
  return credentials?.clientId === app.clientId && credentials.clientSecret === app.clientSecret;
}
