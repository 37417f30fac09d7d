/** Every scope GitHub grants, with those it directly includes: docs.github.com, "Scopes for OAuth apps". */
const included: Readonly<Record<string, readonly string[]>> = {
  repo: ['repo:status', 'repo_deployment', 'public_repo', 'repo:invite', 'security_events'],
  'repo:status': [],
  repo_deployment: [],
  public_repo: [],
  'repo:invite': [],
  security_events: [],
  'admin:repo_hook': ['write:repo_hook'],
  'write:repo_hook': ['read:repo_hook'],
  'read:repo_hook': [],
  'admin:org': ['write:org', 'manage_runners:org'],
  'write:org': ['read:org'],
  'read:org': [],
  'manage_runners:org': [],
  'admin:public_key': ['write:public_key'],
  'write:public_key': ['read:public_key'],
  'read:public_key': [],
  'admin:org_hook': [],
  gist: [],
  notifications: [],
  user: ['read:user', 'user:email', 'user:follow'],
  'read:user': [],
  'user:email': [],
  'user:follow': [],
  project: ['read:project'],
  'read:project': [],
  delete_repo: [],
  'write:packages': ['read:packages'],
  'read:packages': [],
  'delete:packages': [],
  'write:discussion': ['read:discussion'],
  'read:discussion': [],
  'admin:gpg_key': ['write:gpg_key'],
  'write:gpg_key': ['read:gpg_key'],
  'read:gpg_key': [],
  'admin:ssh_signing_key': ['write:ssh_signing_key'],
  'write:ssh_signing_key': ['read:ssh_signing_key'],
  'read:ssh_signing_key': [],
  codespace: ['codespace:secrets'],
  'codespace:secrets': [],
  copilot: ['manage_billing:copilot'],
  'manage_billing:copilot': [],
  workflow: [],
  'admin:enterprise': ['manage_runners:enterprise', 'manage_billing:enterprise', 'read:enterprise'],
  'manage_runners:enterprise': [],
  'manage_billing:enterprise': [],
  'read:enterprise': [],
  audit_log: ['read:audit_log'],
  'read:audit_log': [],
};

/** Reads a scope parameter: separated by spaces or commas, as GitHub takes both. */
export function parseScopes(parameter: string): string[] {
  return parameter.split(/[\s,]+/).filter((scope) => scope !== '');
}

/** What GitHub stores for the scopes that were asked: known ones, without those another one includes, sorted. */
export function normalizeScopes(asked: readonly string[]): string[] {
  const known = new Set(asked.filter((scope) => Object.hasOwn(included, scope)));
  const implied = new Set([...known].flatMap(impliedBy));
  return [...known].filter((scope) => !implied.has(scope)).sort();
}

/** Whether a token with these scopes may do what needs one of `accepted`. */
export function hasAnyScope(granted: readonly string[], accepted: readonly string[]): boolean {
  return granted.some(
    (scope) => accepted.includes(scope) || impliedBy(scope).some((s) => accepted.includes(s)),
  );
}

function impliedBy(scope: string): string[] {
  return (included[scope] ?? []).flatMap((child) => [child, ...impliedBy(child)]);
}
