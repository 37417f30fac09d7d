import { RateWindows } from './api/rate-windows.ts';
import { completeApp, type OAuthApp } from './app.ts';
import { Failures } from './control/failures.ts';
import { RequestCounter } from './control/request-counter.ts';
import { defaultPeople } from './default-people.ts';
import { Codes } from './oauth/codes.ts';
import { People } from './people.ts';
import type { Person } from './person.ts';
import { Tokens } from './tokens.ts';

/** Everything one stand-in remembers. */
export interface State {
  /** Known once the server listens. */
  url: string;
  readonly app: OAuthApp;
  readonly people: People;
  readonly tokens: Tokens;
  readonly codes: Codes;
  readonly rates: RateWindows;
  readonly failures: Failures;
  readonly requests: RequestCounter;
  /** Refresh grants asked for, and how many of them were turned down. */
  readonly refreshes: { asked: number; refused: number };
  readonly now: () => number;
}

export interface StateOptions {
  app?: Partial<OAuthApp>;
  people?: readonly Person[];
  now?: () => number;
}

export function createState({ app, people = defaultPeople, now = Date.now }: StateOptions): State {
  return {
    url: '',
    app: completeApp(app),
    people: new People(people),
    tokens: new Tokens(now),
    codes: new Codes(now),
    rates: new RateWindows(now),
    failures: new Failures(),
    requests: new RequestCounter(),
    refreshes: { asked: 0, refused: 0 },
    now,
  };
}

/** Back to the start. The registered app stays: it is configuration, like the address. */
export function resetState(state: State): void {
  state.people.reset();
  state.tokens.clear();
  state.codes.clear();
  state.rates.clear();
  state.failures.heal();
  state.requests.clear();
  state.refreshes.asked = 0;
  state.refreshes.refused = 0;
}
