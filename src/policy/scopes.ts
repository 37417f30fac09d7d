// Which GitHub scopes does a granted scope contain? GitHub drops the contained ones from what it reports
// (asking for `repo,public_repo` grants `repo`), so a plain comparison would refuse people who granted more.
// Source: GitHub's documentation "Scopes for OAuth apps".

const CONTAINS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    repo: ['repo:status', 'repo_deployment', 'public_repo', 'repo:invite', 'security_events'],
    'admin:repo_hook': ['write:repo_hook', 'read:repo_hook'],
    'write:repo_hook': ['read:repo_hook'],
    'admin:org': ['write:org', 'read:org', 'manage_runners:org'],
    'write:org': ['read:org'],
    'admin:public_key': ['write:public_key', 'read:public_key'],
    'write:public_key': ['read:public_key'],
    user: ['read:user', 'user:email', 'user:follow'],
    'write:discussion': ['read:discussion'],
    'write:packages': ['read:packages'],
    'admin:gpg_key': ['write:gpg_key', 'read:gpg_key'],
    'write:gpg_key': ['read:gpg_key'],
    project: ['read:project'],
    'admin:enterprise': [
      'manage_runners:enterprise',
      'manage_billing:enterprise',
      'read:enterprise',
      'scim:enterprise',
    ],
    'admin:ssh_signing_key': ['write:ssh_signing_key', 'read:ssh_signing_key'],
    'write:ssh_signing_key': ['read:ssh_signing_key'],
    codespace: ['codespace:secrets'],
  }),
);

/** The required scopes that the granted ones do not contain, in the order they were required. */
export function missingScopes(required: readonly string[], granted: readonly string[]): string[] {
  return required.filter(
    (scope) => !granted.some((have) => have === scope || CONTAINS.get(have)?.includes(scope)),
  );
}
