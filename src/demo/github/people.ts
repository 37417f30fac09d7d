import type { Email, Membership, Person } from './person.ts';

/** The accounts of one stand-in. Logins are unique without regard to case, as on GitHub. */
export class People {
  readonly #start: readonly Person[];
  readonly #byId = new Map<number, Person>();

  constructor(start: readonly Person[]) {
    this.#start = structuredClone(start);
    this.reset();
  }

  all(): Person[] {
    return [...this.#byId.values()];
  }

  byId(id: number): Person | undefined {
    return this.#byId.get(id);
  }

  byLogin(login: string): Person | undefined {
    const wanted = login.toLowerCase();
    return this.all().find((person) => person.login.toLowerCase() === wanted);
  }

  /** @throws when nobody has this login, so that a misspelt test cannot pass. */
  require(login: string): Person {
    const person = this.byLogin(login);
    if (!person) throw new Error(`the stand-in GitHub knows nobody called ${JSON.stringify(login)}`);
    return person;
  }

  add(person: Person): void {
    if (this.#byId.has(person.id)) throw new Error(`the id ${person.id} is taken`);
    this.#refuseTaken(person.login);
    this.#byId.set(person.id, structuredClone(person));
  }

  rename(login: string, newLogin: string): void {
    const person = this.require(login);
    if (login.toLowerCase() !== newLogin.toLowerCase()) this.#refuseTaken(newLogin);
    person.login = newLogin;
  }

  setEmails(login: string, emails: Email[]): void {
    this.require(login).emails = structuredClone(emails);
  }

  setMemberships(login: string, memberships: Membership[]): void {
    this.require(login).memberships = structuredClone(memberships);
  }

  reset(): void {
    this.#byId.clear();
    for (const person of this.#start) this.add(person);
  }

  #refuseTaken(login: string): void {
    if (this.byLogin(login)) throw new Error(`the login ${JSON.stringify(login)} is taken`);
  }
}
