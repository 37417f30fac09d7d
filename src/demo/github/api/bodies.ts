import { createHash } from 'node:crypto';
import { type Person, publicEmail } from '../person.ts';

/** The fields GitHub gives of an account wherever it names one. */
export function accountBody(person: Person, url: string) {
  return {
    login: person.login,
    id: person.id,
    node_id: nodeId('User', person.id),
    avatar_url: person.avatarUrl ?? `${url}/avatars/u/${person.id}`,
    gravatar_id: '',
    url: `${url}/api/v3/users/${person.login}`,
    html_url: `${url}/${person.login}`,
    type: 'User',
    user_view_type: 'public',
    site_admin: false,
  };
}

/** `GET /user`. */
export function userBody(person: Person, url: string) {
  return {
    ...accountBody(person, url),
    name: person.name,
    company: null,
    blog: '',
    location: null,
    email: publicEmail(person),
    hireable: null,
    bio: null,
    twitter_username: null,
    notification_email: publicEmail(person),
    public_repos: 2,
    public_gists: 0,
    followers: 0,
    following: 0,
    created_at: '2011-01-25T18:44:36Z',
    updated_at: '2026-01-05T09:00:00Z',
  };
}

/** `GET /user/repos`: two public repositories, and a private one for who may see it. */
export function repositoryBodies(person: Person, url: string, seesPrivate: boolean) {
  const repositories = [
    { id: 1, name: 'hello-world', private: false, description: 'My first repository' },
    { id: 2, name: 'spoon-knife', private: false, description: 'To practise forking with' },
    { id: 3, name: 'secret-plans', private: true, description: 'Nobody else sees this' },
  ];
  return repositories
    .filter((repository) => seesPrivate || !repository.private)
    .map((repository) => repositoryBody(repository, person, url));
}

function repositoryBody(
  repository: { id: number; name: string; private: boolean },
  person: Person,
  url: string,
) {
  const id = person.id * 10 + repository.id;
  const fullName = `${person.login}/${repository.name}`;
  return {
    ...repository,
    id,
    node_id: nodeId('Repository', id),
    full_name: fullName,
    owner: accountBody(person, url),
    html_url: `${url}/${fullName}`,
    url: `${url}/api/v3/repos/${fullName}`,
    fork: false,
    visibility: repository.private ? 'private' : 'public',
    default_branch: 'main',
  };
}

/** An organization, wherever GitHub names one. The stand-in has them by their login alone. */
export function organizationBody(login: string, url: string) {
  const id = idOf(login);
  return {
    login,
    id,
    node_id: nodeId('Organization', id),
    url: `${url}/api/v3/orgs/${login}`,
    avatar_url: `${url}/avatars/u/${id}`,
    description: null,
  };
}

/** One of `GET /user/teams`. */
export function teamBody(organization: string, slug: string, url: string) {
  const id = idOf(`${organization}/${slug}`);
  return {
    id,
    node_id: nodeId('Team', id),
    name: slug,
    slug,
    description: null,
    privacy: 'closed',
    permission: 'pull',
    url: `${url}/api/v3/organizations/${idOf(organization)}/team/${id}`,
    html_url: `${url}/orgs/${organization}/teams/${slug}`,
    parent: null,
    organization: organizationBody(organization, url),
  };
}

/** Always the same for a name. */
function idOf(name: string): number {
  return createHash('sha256').update(name).digest().readUInt32BE() >>> 1;
}

function nodeId(type: string, id: number): string {
  return Buffer.from(`0${type.length}:${type}${id}`).toString('base64');
}
