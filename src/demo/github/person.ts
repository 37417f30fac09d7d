/** An e-mail address as GitHub's `/user/emails` lists it; `visibility` is null on addresses that are not primary. */
export interface Email {
  email: string;
  primary: boolean;
  verified: boolean;
  visibility: 'public' | 'private' | null;
}

/** That somebody belongs to an organization; `pending` until they take the invitation. Teams are named by their slugs. */
export interface Membership {
  organization: string;
  teams?: string[];
  state?: 'active' | 'pending';
}

/** Somebody with an account at the stand-in. `id` is GitHub's numeric id: it stays when `login` changes. */
export interface Person {
  id: number;
  login: string;
  name: string | null;
  avatarUrl?: string;
  emails: Email[];
  /** None unless said. */
  memberships?: Membership[];
}

/** The address GitHub shows in `/user`: the primary one, when its owner made it public. */
export function publicEmail(person: Person): string | null {
  return person.emails.find((entry) => entry.primary && entry.visibility === 'public')?.email ?? null;
}
