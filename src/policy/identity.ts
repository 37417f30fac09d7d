// What is the upstream told about the caller? Header names per preset, values that cannot break a header. Pure.
import * as z from 'zod';
import type { Session } from './session.ts';

export const identityPresetSchema = z
  .enum(['oauth2-proxy', 'remote', 'none'])
  .describe('Header names the caller is announced under: X-Forwarded-User …, Remote-User …, or not at all.');

export type IdentityPreset = z.output<typeof identityPresetSchema>;

interface PresetNames {
  user: string;
  email: string;
  username: string;
  groups: string;
}

const PRESETS: Record<Exclude<IdentityPreset, 'none'>, PresetNames> = {
  'oauth2-proxy': {
    user: 'X-Forwarded-User',
    email: 'X-Forwarded-Email',
    username: 'X-Forwarded-Preferred-Username',
    groups: 'X-Forwarded-Groups',
  },
  remote: { user: 'Remote-User', email: 'Remote-Email', username: 'Remote-Name', groups: 'Remote-Groups' },
};

/** Names that announce a person in any preset. A client's own are removed on every route. */
export const IDENTITY_HEADERS: readonly string[] = [
  ...Object.values(PRESETS).flatMap((names) => Object.values(names)),
  'X-Forwarded-Access-Token',
];

/** Families of names that only the gateway may send to an upstream. */
export const IDENTITY_PREFIXES: readonly string[] = ['X-Gateway-', 'X-Auth-Request-'];

/**
 * Headers that announce the caller, as a flat list of names and values.
 *
 * @param sessionHash names the session to the upstream without being of use to anyone who reads it
 */
export function identityHeaders(session: Session, preset: IdentityPreset, sessionHash: string): string[] {
  if (preset === 'none') return [];
  const names = PRESETS[preset];
  const headers = [names.user, session.userId, names.email, session.email, names.groups, session.role];
  if (session.github?.login) headers.push(names.username, session.github.login);
  if (session.github?.scopes) headers.push('X-Gateway-Scopes', session.github.scopes.join(','));
  if (session.impersonatedBy) headers.push('X-Gateway-Impersonated-By', session.impersonatedBy);
  headers.push('X-Gateway-Session', sessionHash);
  return headers.map((value, at) => (at % 2 === 0 ? value : headerValue(value)));
}

const encoder = new TextEncoder();

/**
 * Percent-encodes what must not stand in a header: control characters, everything beyond ASCII (as UTF-8),
 * `%` itself so that decoding has one answer, and spaces at the ends, which receivers trim.
 */
export function headerValue(value: string): string {
  return value.toWellFormed().replace(/[^\x20-\x24\x26-\x7e]|^ | $/gu, percentEncode);
}

function percentEncode(character: string): string {
  return [...encoder.encode(character)]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
    .join('');
}
