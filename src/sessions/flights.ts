// Questions under way, by the session token they are about.
import type { Lookup } from '../policy/session.ts';
import type { Moment } from './revocation-log.ts';

export interface Flight {
  readonly token: string;
  readonly since: Moment;
  readonly answer: Promise<Lookup>;
}

interface Link {
  readonly flight: Flight;
  next: Link | null;
}

/** A power of two; beyond so many at a time some share a place. */
const PLACES = 1024;

/**
 * Not a Map: one that is added to and deleted from all the time keeps everything that was in it until the next full
 * collection; see ARCHITECTURE.md. Tokens are random: their characters say where to look.
 */
export class Flights {
  readonly #places: (Link | null)[] = new Array(PLACES).fill(null);

  get(token: string): Flight | null {
    for (let link = this.#places[placeOf(token)] ?? null; link !== null; link = link.next)
      if (link.flight.token === token) return link.flight;
    return null;
  }

  /** Until it ends, it is found instead of the one before it about the same token. */
  add(flight: Flight): void {
    const place = placeOf(flight.token);
    this.#places[place] = { flight, next: this.#places[place] ?? null };
  }

  delete(flight: Flight): void {
    const place = placeOf(flight.token);
    let before: Link | null = null;
    for (let link = this.#places[place] ?? null; link !== null; before = link, link = link.next) {
      if (link.flight !== flight) continue;
      if (before === null) this.#places[place] = link.next;
      else before.next = link.next;
      return;
    }
  }
}

function placeOf(token: string): number {
  return (token.charCodeAt(0) * 31 + token.charCodeAt(1) * 7 + token.charCodeAt(2)) & (PLACES - 1);
}
