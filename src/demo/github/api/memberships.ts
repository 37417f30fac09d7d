import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Membership } from '../person.ts';
import type { State } from '../state.ts';
import { ApiError } from './api-error.ts';
import { authenticate, type Caller, mayUse } from './authentication.ts';
import { accountBody, organizationBody, teamBody } from './bodies.ts';
import { sendPage } from './paging.ts';

const orgScopes = ['read:org', 'user'];
const teamScopes = ['read:org', 'user', 'repo'];
const noOrgs = 'You need at least read:org scope or user scope to list your organizations.';

/** What the caller belongs to. Fine-grained tokens are told of nothing, with status 200. */
export async function membershipRoutes(server: FastifyInstance, { state }: { state: State }): Promise<void> {
  server.get('/user/orgs', async (request, reply) => {
    const caller = callerWith(state, request, reply, orgScopes, new ApiError(403, noOrgs));
    const organizations = activeOf(caller).map(({ organization }) =>
      organizationBody(organization, state.url),
    );
    return sendPage(request, reply, organizations, state.url);
  });

  server.get('/user/teams', async (request, reply) => {
    const caller = callerWith(state, request, reply, teamScopes, new ApiError(404, 'Not Found'));
    const teams = activeOf(caller).flatMap(({ organization, teams = [] }) =>
      teams.map((slug) => teamBody(organization, slug, state.url)),
    );
    return sendPage(request, reply, teams, state.url);
  });

  server.get<{ Params: { org: string } }>('/user/memberships/orgs/:org', async (request, reply) => {
    const caller = callerWith(state, request, reply, orgScopes, new ApiError(404, 'Not Found'));
    const org = request.params.org.toLowerCase();
    const found = membershipsOf(caller).find(({ organization }) => organization.toLowerCase() === org);
    if (!found) throw new ApiError(404, 'Not Found');
    return {
      url: `${state.url}/api/v3/orgs/${found.organization}/memberships/${caller.person.login}`,
      state: found.state ?? 'active',
      role: 'member',
      organization_url: `${state.url}/api/v3/orgs/${found.organization}`,
      user: accountBody(caller.person, state.url),
      organization: organizationBody(found.organization, state.url),
    };
  });
}

/** @throws ApiError 401 without a living token, `refusal` without one of the scopes. */
function callerWith(
  state: State,
  request: FastifyRequest,
  reply: FastifyReply,
  scopes: readonly string[],
  refusal: ApiError,
): Caller {
  const caller = authenticate(state, request, reply, scopes);
  if (caller.token.kind !== 'fine-grained' && !mayUse(caller.token, scopes)) throw refusal;
  return caller;
}

function membershipsOf({ person, token }: Caller): Membership[] {
  return token.kind === 'fine-grained' ? [] : (person.memberships ?? []);
}

function activeOf(caller: Caller): Membership[] {
  return membershipsOf(caller).filter(({ state }) => state !== 'pending');
}
