// Postgres and Redis of the gateways under test: migrated, somebody signed in, and as many sessions as are wanted.
import { startStandInGitHub } from '../../src/demo/github/server.ts';
import type { Surroundings } from '../contender.ts';
import { cookiesOf } from '../cookies.ts';
import { addSessions, fillRedis } from '../people.ts';
import { startGatewayOn } from './gateway-process.ts';

export interface GatewayStores {
  readonly env: NodeJS.ProcessEnv;
  /** Cookies of a person who has signed in, with a token that lacks the scope `repo`. */
  readonly signedIn: string;
}

/** Made once for every number of sessions. */
export function gatewayStores(surroundings: Surroundings, sessions: number): Promise<GatewayStores> {
  return surroundings.once(`stores of ${sessions} sessions`, () => openStores(surroundings, sessions));
}

async function openStores(surroundings: Surroundings, sessions: number): Promise<GatewayStores> {
  const [databaseUrl, redisUrl] = [await surroundings.database(), await surroundings.redis()];
  const github = await startStandInGitHub();
  await using ending = new AsyncDisposableStack();
  ending.defer(() => github.close());
  const env = {
    DATABASE_URL: databaseUrl,
    REDIS_URL: redisUrl,
    GITHUB_URL: github.url,
    GITHUB_API_URL: github.apiUrl,
  };
  const gateway = await startGatewayOn(surroundings, env, { migrates: true });
  ending.defer(() => gateway.close());
  const pat = github.control.issueToken({
    login: 'octocat',
    kind: 'classic',
    scopes: ['read:user', 'user:email'],
  });
  const signedIn = await signIn(gateway.url, pat);
  await fetch(`${gateway.url}/api/x`, { headers: { cookie: signedIn } });
  await addSessions(databaseUrl, sessions);
  await fillRedis(redisUrl, sessions);
  return { env, signedIn };
}

async function signIn(url: string, pat: string): Promise<string> {
  const answer = await fetch(`${url}/api/auth/pat-signin`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ pat }),
  });
  if (!answer.ok) throw new Error(`The gateway refused the sign-in: ${answer.status} ${await answer.text()}`);
  return cookiesOf(answer);
}
