import type { Person, StandInGitHub } from '../../src/demo/github/server.ts';

let count = 0;

/** A person nobody else in this test file is, with a verified e-mail unless told otherwise. */
export function addPerson(github: StandInGitHub, given: Partial<Person> = {}): Person {
  count += 1;
  const login = given.login ?? `person-${count}`;
  const emails = [{ email: `${login}@example.net`, primary: true, verified: true, visibility: null }];
  const person = { id: 9_000_000 + count, login, name: `Person ${count}`, emails, ...given };
  github.control.addPerson(person);
  return person;
}
