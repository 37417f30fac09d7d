// Headers that announce a person to an upstream, in every form they are needed in: made once, sent with many requests.
import { fieldLines } from './request-head.ts';

export interface IdentityHeaders {
  /** Names and values in turn. */
  readonly list: readonly string[];
  /** As they are written to a target that speaks HTTP/1.1; null for a value that would not stay in its line. */
  readonly lines: string | null;
  /** The client's own Authorization gives way to the token in it. */
  readonly replacesAuthorization: boolean;
}

/** @param list names and values in turn */
export function announce(list: readonly string[]): IdentityHeaders {
  const lines = fieldLines(list);
  return {
    list,
    // One flat text: what is put together of pieces would be put together again for each request.
    lines: lines && Buffer.from(lines, 'latin1').toString('latin1'),
    // Only a token replaces the client's: who is announced without one keeps their own.
    replacesAuthorization: list.some((name, at) => at % 2 === 0 && name === 'Authorization'),
  };
}

/** For anonymous callers. */
export const NOBODY: IdentityHeaders = announce([]);
