/**
 * How long the store's word counts, in ms, wherever it is kept: if Redis counted it for longer than memory does, every
 * request in between would have to ask Redis.
 */
export const FRESH_MS = 60_000;
/** In memory, while changes are not heard. */
export const FRESH_UNHEARD_MS = 2_000;
