import type { Person } from './person.ts';

/** Who has an account when nobody is named: two ordinary people, an administrator-to-be, and two whom a sign-in must refuse. */
export const defaultPeople: readonly Person[] = [
  {
    id: 583231,
    login: 'octocat',
    name: 'The Octocat',
    emails: [
      { email: 'octocat@example.com', primary: true, verified: true, visibility: 'public' },
      { email: 'octocat@example.org', primary: false, verified: true, visibility: null },
    ],
  },
  {
    id: 480938,
    login: 'hubot',
    name: 'Hubot',
    emails: [{ email: 'hubot@example.com', primary: true, verified: true, visibility: 'private' }],
  },
  {
    id: 2147001,
    login: 'monalisa',
    name: 'Mona Lisa',
    emails: [{ email: 'monalisa@example.com', primary: true, verified: true, visibility: 'private' }],
  },
  {
    id: 2147002,
    login: 'newcomer',
    name: null,
    emails: [{ email: 'newcomer@example.com', primary: true, verified: false, visibility: 'private' }],
  },
  {
    id: 2147003,
    login: 'drifter',
    name: 'No Verified Primary',
    emails: [
      { email: 'drifter@example.com', primary: true, verified: false, visibility: 'private' },
      { email: 'drifter@example.org', primary: false, verified: true, visibility: null },
    ],
  },
];
