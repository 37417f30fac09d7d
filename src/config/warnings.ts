// What an operator should know about a configuration that is in order.
import { isLoopback, sendsInTheClear } from '../forwarding/upstream-options.ts';
import type { GatewayConfig } from './load.ts';

/** Sentences for the log, once at start. */
export function configWarnings(config: GatewayConfig): string[] {
  return [...addressWarnings(config), ...tokenWarnings(config), ...routeWarnings(config)];
}

function addressWarnings({ publicUrl, production, github }: GatewayConfig): string[] {
  const warnings: string[] = [];
  const { protocol, hostname } = new URL(publicUrl);
  if (protocol === 'http:' && (production || !isLoopback(hostname)))
    warnings.push('BETTER_AUTH_URL is http: cookies travel in the clear');
  if (github.client === null)
    warnings.push('GITHUB_CLIENT_ID is not set: people can only sign in with personal access tokens');
  return warnings;
}

function tokenWarnings({ upstreams }: GatewayConfig): string[] {
  return Object.entries(upstreams)
    .filter(([, { githubToken, targets }]) => githubToken !== 'none' && targets.some(sendsInTheClear))
    .map(([name]) => `upstream ${name} is sent GitHub tokens over plain http (plainHttpToken: allow)`);
}

function routeWarnings({ routes }: GatewayConfig): string[] {
  return routes.flatMap(({ path, reportOnly, crossSite, access }) => [
    ...(reportOnly ? [`route ${path} refuses nobody (reportOnly: true)`] : []),
    ...(crossSite === 'allow' && access !== 'public'
      ? [`route ${path} lets any site act as the person signed in (crossSite: allow)`]
      : []),
  ]);
}
