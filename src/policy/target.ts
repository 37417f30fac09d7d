// What path is asked for? One canonical target is made once: what is judged here is what is sent.
// Pure: no I/O, no Fastify.
import { type Ambiguity, ambiguityOf, withoutOptIns } from './readings.ts';

/** A request target that has exactly one reading, or is marked as one that has several. */
export interface Target {
  /** The path exactly as it came, and exactly as it goes on. */
  readonly path: string;
  /** The query with its `?`, untouched; empty when there is none. */
  readonly query: string;
  /** The path rules are matched against: every character a pattern may hold decoded, case kept. */
  readonly matchPath: string;
  /** Only where a route opts in may this target pass; absent from nearly all. */
  readonly ambiguity?: Ambiguity;
}

/** Why a target is refused; part of the answer's detail. */
export type AmbiguousReason =
  | 'not-origin-form'
  | 'control-character'
  | 'non-ascii'
  | 'backslash'
  | 'fragment'
  | 'empty-segment'
  | 'dot-segment'
  | 'path-parameter'
  | 'bad-percent-encoding'
  | 'double-encoding'
  | 'encoded-slash'
  | 'encoded-control-character'
  | 'invalid-utf8';

export type TargetResult = { ok: true; target: Target } | { ok: false; reason: AmbiguousReason };

// A path of these characters alone needs no second look, once dots and slashes are known to be harmless.
const PLAIN = /^[A-Za-z0-9\-._~!$&'()*+,=:@/]*$/;
const EMPTY_OR_DOT_SEGMENT = /\/(?:\/|\.{1,2}(?:\/|$))/;
const ESCAPES = /%([0-9A-Fa-f]{2})/g;
const ESCAPED_ESCAPE = /%25[0-9A-Fa-f]{2}/;
const IN_A_PATTERN = /^[A-Za-z0-9\-._~!$&'()*+,=:@]$/;

/**
 * Reads the request target of an HTTP request line.
 *
 * Refused is whatever two readers could take differently (RFC 3986 section 6, WHATWG URL): dot segments in any
 * encoding, empty segments, encoded separators, parameters, double encoding, bytes that are no text. An encoded slash
 * or a parameter that does no such harm in any reading is accepted, and marked: routes may opt in to it.
 */
export function parseTarget(url: string): TargetResult {
  const mark = url.indexOf('?');
  const path = mark === -1 ? url : url.slice(0, mark);
  const query = mark === -1 ? '' : url.slice(mark);
  if (!path.startsWith('/')) return refused('not-origin-form');
  const queryFault = query === '' ? null : badCharacter(query);
  if (queryFault) return refused(queryFault);
  if (EMPTY_OR_DOT_SEGMENT.test(path)) return refused(segmentFault(path));
  if (PLAIN.test(path)) return { ok: true, target: { path, query, matchPath: path } };
  return parseUnusual(path, query);
}

function parseUnusual(path: string, query: string): TargetResult {
  const fault = badCharacter(path) ?? badEscape(path);
  if (fault === 'path-parameter' || fault === 'encoded-slash') return parseAmbiguous(path, query, fault);
  if (fault) return refused(fault);
  const matchPath = path.replace(ESCAPES, decodeForPattern);
  // The escape behind an encoded % may be spelled with escapes itself: %25%32%65 is %2e once decoded.
  if (ESCAPED_ESCAPE.test(matchPath)) return refused('double-encoding');
  if (EMPTY_OR_DOT_SEGMENT.test(matchPath)) return refused(segmentFault(matchPath));
  return { ok: true, target: { path, query, matchPath } };
}

function parseAmbiguous(path: string, query: string, reason: Ambiguity['reason']): TargetResult {
  const harmless = withoutOptIns(path);
  if (badCharacter(harmless) ?? badEscape(harmless)) return refused(reason);
  const matchPath = path.replace(ESCAPES, decodeForPattern);
  if (ESCAPED_ESCAPE.test(matchPath)) return refused(reason);
  const ambiguity = ambiguityOf(matchPath, reason);
  if (ambiguity.readings.some((reading) => EMPTY_OR_DOT_SEGMENT.test(reading))) return refused(reason);
  return { ok: true, target: { path, query, matchPath, ambiguity } };
}

function badCharacter(text: string): AmbiguousReason | null {
  const inPath = text.charCodeAt(0) !== 0x3f;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code <= 0x20 || code === 0x7f) return 'control-character';
    if (code > 0x7f) return 'non-ascii';
    if (code === 0x23) return 'fragment';
    if (inPath && code === 0x5c) return 'backslash';
    if (inPath && code === 0x3b) return 'path-parameter';
  }
  return null;
}

function badEscape(path: string): AmbiguousReason | null {
  for (let at = path.indexOf('%'); at !== -1; at = path.indexOf('%', at + 1)) {
    const hex = path.slice(at + 1, at + 3);
    if (!/^[0-9A-Fa-f]{2}$/.test(hex)) return 'bad-percent-encoding';
    const fault = badByte(Number.parseInt(hex, 16));
    if (fault) return fault;
  }
  return isUtf8(path) ? null : 'invalid-utf8';
}

function badByte(byte: number): AmbiguousReason | null {
  if (byte < 0x20 || byte === 0x7f) return 'encoded-control-character';
  if (byte === 0x2f || byte === 0x5c) return 'encoded-slash';
  if (byte === 0x3b) return 'path-parameter';
  return null;
}

function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

function decodeForPattern(escaped: string, hex: string): string {
  const character = String.fromCharCode(Number.parseInt(hex, 16));
  return IN_A_PATTERN.test(character) ? character : escaped;
}

function segmentFault(path: string): AmbiguousReason {
  return path.includes('//') ? 'empty-segment' : 'dot-segment';
}

function refused(reason: AmbiguousReason): TargetResult {
  return { ok: false, reason };
}
