import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { apiRoutes } from './api/api.ts';
import type { OAuthApp } from './app.ts';
import { avatarRoutes } from './avatar.ts';
import { type Control, createControl } from './control/control.ts';
import { controlRoutes } from './control/control-routes.ts';
import { answerFailure } from './control/failure-answers.ts';
import { accessTokenRoutes } from './oauth/access-token.ts';
import { authorizeRoutes } from './oauth/authorize.ts';
import type { Person } from './person.ts';
import { createState, type State, type StateOptions } from './state.ts';

export type { OAuthApp, Person };

export interface StandInGitHubOptions extends StateOptions {
  /** Default 127.0.0.1. */
  host?: string;
  /** Default 0: a free port. */
  port?: number;
  /** The registered OAuth client; what is left out has a default. */
  app?: Partial<OAuthApp>;
  people?: readonly Person[];
  /** The clock codes and tokens end by, in epoch milliseconds. Default Date.now. */
  now?: () => number;
}

export interface StandInGitHub {
  /** What GITHUB_URL is set to, without a trailing slash. */
  url: string;
  /** What GITHUB_API_URL is set to: the same server, as on GitHub Enterprise Server. */
  apiUrl: string;
  /** The registered client. Live: callback URLs may be added once their port is known. */
  app: OAuthApp;
  control: Control;
  /** Ends every connection at once, hanging ones too. */
  close(): Promise<void>;
}

/** Starts a server that answers, and refuses, as GitHub does for sign-in and the few API calls around it. */
export async function startStandInGitHub(options: StandInGitHubOptions = {}): Promise<StandInGitHub> {
  const { host = '127.0.0.1', port = 0 } = options;
  const state = createState(options);
  const server = await createServer(state);
  await server.listen({ host, port });
  state.url = addressOf(server);
  return {
    url: state.url,
    apiUrl: `${state.url}/api/v3`,
    app: state.app,
    control: createControl(state),
    close: () => server.close(),
  };
}

async function createServer(state: State): Promise<FastifyInstance> {
  const server = Fastify({ forceCloseConnections: true });
  server.addHook('onRequest', async (request, reply) => countOrFail(state, request, reply));
  server.setNotFoundHandler(async (_request, reply) =>
    reply
      .code(404)
      .send({ message: 'Not Found', documentation_url: 'https://docs.github.com/rest', status: '404' }),
  );
  await server.register(authorizeRoutes, { state });
  await server.register(accessTokenRoutes, { state });
  await server.register(apiRoutes, { state });
  await server.register(apiRoutes, { state, prefix: '/api/v3' });
  await server.register(avatarRoutes);
  await server.register(controlRoutes, { state });
  return server;
}

async function countOrFail(state: State, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const route = withoutApiPrefix(request.routeOptions.url ?? '(unknown)');
  if (route.startsWith('/_control/')) return;
  state.requests.add(`${request.method} ${route}`);
  const [path = ''] = request.url.split('?', 1);
  const failure = state.failures.next(withoutApiPrefix(path));
  if (failure) await answerFailure(reply, failure, state.now());
}

function withoutApiPrefix(path: string): string {
  return path.replace(/^\/api\/v3(?=\/)/, '');
}

function addressOf(server: FastifyInstance): string {
  const { address, family, port } = server.server.address() as AddressInfo;
  const reachable = address === '0.0.0.0' || address === '::' ? '127.0.0.1' : address;
  return `http://${family === 'IPv6' && reachable !== '127.0.0.1' ? `[${reachable}]` : reachable}:${port}`;
}
